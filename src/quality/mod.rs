//! How good a call is. Pure functions.
//!
//! It reads no clock and holds no call.

mod basis;
pub mod codec;
pub mod delay;
pub mod emodel;
mod rating;
pub mod score;
pub mod settings;
pub mod simplified;

pub use basis::{MosBasis, MosKind, Scale, Source};
pub use rating::{Rating, THRESHOLDS, Thresholds};
pub use score::Impairments;
