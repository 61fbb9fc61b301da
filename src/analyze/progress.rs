//! How far reading has come, on standard error, where a person waits for it.
//!
//! Never says anything when standard error is no terminal or the input is soon read.

use std::{
    fmt,
    io::{self, IsTerminal as _},
};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

/// A progress bar, or none.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    next_bytes: u64,
}

impl Progress {
    /// A bar for an input of that many octets, or of a size that is not known, as of a pipe.
    #[must_use]
    pub fn new(total_bytes: Option<u64>) -> Self {
        let is_long = total_bytes.is_none_or(|bytes| bytes >= WORTH_IT);
        let is_seen = is_long && io::stderr().is_terminal();
        Self { bar: is_seen.then(|| bar(total_bytes)), next_bytes: 0 }
    }

    /// Says that `read_bytes` octets with `packets` packets have been read so far. Cheap: most
    /// calls only compare.
    pub fn update(&mut self, read_bytes: u64, packets: u64) {
        let Some(bar) = &self.bar else { return };
        if read_bytes < self.next_bytes {
            return;
        }
        self.next_bytes = read_bytes.saturating_add(STEP);
        bar.set_message(format!("{} packets", HumanCount(packets)));
        bar.set_position(read_bytes);
    }

    /// Takes the bar away, so that what is written next has the terminal for itself.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(total_bytes: Option<u64>) -> ProgressBar {
    let bar = total_bytes.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = if total_bytes.is_some() {
        "{bar:30} {percent}%  {bytes} of {total_bytes}  {speed}  {msg}"
    } else {
        "{spinner} {bytes}  {speed}  {msg}"
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.with_key("speed", speed)),
        Err(_) => bar,
    }
}

fn speed(state: &ProgressState, to: &mut dyn fmt::Write) {
    // Whoever cannot show a progress bar goes on without.
    let _ = write!(to, "{:.0} MB/s", state.per_sec() / 1e6);
}

/// Octets below which nobody waits long enough to ask.
const WORTH_IT: u64 = 64 << 20;

/// Octets between two looks at the bar.
const STEP: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_input_has_no_bar() {
        let mut progress = Progress::new(Some(WORTH_IT - 1));
        assert!(progress.bar.is_none());
        progress.update(1000, 10);
        progress.finish();
    }

    #[test]
    fn a_bar_is_moved_a_step_at_a_time() {
        let bar = bar(Some(WORTH_IT));
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        let mut progress = Progress { bar: Some(bar.clone()), next_bytes: 0 };
        progress.update(10, 1);
        progress.update(STEP, 2);
        assert_eq!((bar.position(), bar.message().as_str()), (10, "1 packets"));
        progress.update(STEP + 10, 2000);
        assert_eq!((bar.position(), bar.message().as_str()), (STEP + 10, "2,000 packets"));
        progress.finish();
        assert!(bar.is_finished());
    }
}
