//! Asks the appliance what it measured and holds it against the truth.
//!
//! The comparison is a pure function; only [`Api`] and [`Poller`] talk to the appliance.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use voxplane::{
    source::clock,
    time::{Timestamp, millis},
};

use crate::{
    call::CallResult,
    histogram::{Histogram, Quantiles},
    truth::Truth,
    uac::Outcome,
};

/// The appliance's HTTP API.
#[derive(Clone, Debug)]
pub struct Api {
    agent: ureq::Agent,
    base: String,
    authorization: Option<String>,
}

impl Api {
    /// The API at `base`, with the bearer token that is in a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(base: &str, token_file: Option<&Path>) -> Result<Self, VerifyError> {
        let read = |path: &Path| {
            let failed = |reason| VerifyError::Token { path: path.display().to_string(), reason };
            let token = fs::read_to_string(path).map_err(failed)?;
            Ok(format!("Bearer {}", token.trim()))
        };
        let authorization = token_file.map(read).transpose()?;
        let config = ureq::Agent::config_builder().timeout_global(Some(REQUEST_TIMEOUT)).build();
        Ok(Self { agent: config.into(), base: base.to_owned(), authorization })
    }

    /// Fetches each answered call once it has ended there, and compares.
    #[must_use]
    pub fn verify(&self, calls: &[CallResult]) -> Verification {
        let completed: Vec<_> =
            calls.iter().filter(|call| call.outcome == Outcome::Completed).collect();
        let deadline = clock::now() + SETTLE_MAX;
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Vec::with_capacity(completed.len()));
        thread::scope(|scope| {
            for _ in 0..FETCHERS {
                scope.spawn(|| {
                    while let Some(call) = completed.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let view = self.ended_call(&call.call_id, deadline);
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        found.push((*call, view));
                    }
                });
            }
        });
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|(call, _)| call.index);
        Verification::new(&found)
    }

    /// The call once its state is `ended`, or what is known of it at the deadline.
    fn ended_call(&self, call_id: &str, deadline: Timestamp) -> Result<CallView, String> {
        let id = utf8_percent_encode(call_id, NON_ALPHANUMERIC);
        let url = format!("{}/api/qos/call/{id}", self.base);
        loop {
            let view = self.get::<CallView>(&url);
            let has_settled = matches!(&view, Ok(call) if call.state == "ended");
            if has_settled || clock::now() >= deadline {
                return view;
            }
            thread::sleep(RETRY_AFTER);
        }
    }

    fn get<T: for<'de> Deserialize<'de>>(&self, url: &str) -> Result<T, String> {
        let mut request = self.agent.get(url);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.call().map_err(|error| error.to_string())?;
        response.body_mut().read_json().map_err(|error| error.to_string())
    }
}

/// Polls the API while calls are up, as a dashboard does, and times it.
#[derive(Debug)]
pub struct Poller {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Polled>,
}

impl Poller {
    /// Starts to poll.
    #[must_use]
    pub fn start(api: Api) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let signal = Arc::clone(&stop);
        let thread = thread::spawn(move || poll_until(&api, &signal));
        Self { stop, thread }
    }

    /// Stops, and gives what was seen.
    #[must_use]
    pub fn finish(self) -> Polled {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn poll_until(api: &Api, stop: &AtomicBool) -> Polled {
    let url = format!("{}/api/qos/metrics?limit=10", api.base);
    let mut latency = Histogram::default();
    let mut polled = Polled::default();
    while !stop.load(Ordering::Relaxed) {
        let asked_at = clock::now();
        match api.get::<ActiveCalls>(&url) {
            Ok(answer) => {
                latency.record(clock::now().since(asked_at));
                polled.active_calls_max = polled.active_calls_max.max(answer.active_calls);
            }
            Err(error) => {
                polled.failures += 1;
                polled.first_failure.get_or_insert(error);
            }
        }
        thread::sleep(POLL_INTERVAL.saturating_sub(clock::now().since(asked_at)));
    }
    polled.latency = latency.quantiles();
    polled
}

/// How the API answered while calls were up.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Polled {
    /// From request to whole answer.
    pub latency: Option<Quantiles>,
    /// Requests without a good answer.
    pub failures: u64,
    /// Why the first of them failed.
    pub first_failure: Option<String>,
    /// The most calls that were active at once, as the API has it.
    pub active_calls_max: u64,
}

/// What came of the comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verification {
    /// Calls compared.
    pub calls: usize,
    /// Of these, in agreement.
    pub agreeing: usize,
    /// What was sent, summed over the calls.
    pub injected: Figures,
    /// What the appliance says, summed over the calls that it knows.
    pub measured: Figures,
    /// Where they disagree, the worst calls first.
    pub disagreements: Vec<CallDisagreement>,
}

impl Verification {
    fn new(found: &[(&CallResult, Result<CallView, String>)]) -> Self {
        let mut result = Self { calls: found.len(), ..Self::default() };
        for (call, view) in found {
            let injected = Figures::from_truth(&call.truth);
            result.injected.add(&injected);
            let faults = match view {
                Ok(view) => {
                    let measured = view.received().map(StreamView::figures).unwrap_or_default();
                    result.measured.add(&measured);
                    disagreements(&call.truth, view)
                }
                Err(error) => vec![Disagreement {
                    figure: "call",
                    injected: String::from("known"),
                    measured: error.clone(),
                }],
            };
            if !faults.is_empty() {
                let call_id = call.call_id.clone();
                result.disagreements.push(CallDisagreement { call_id, faults });
            }
        }
        result.agreeing = result.calls - result.disagreements.len();
        result.injected.mean_over(result.calls);
        result.measured.mean_over(result.calls);
        result.disagreements.sort_by_key(|call| std::cmp::Reverse(call.faults.len()));
        result
    }

    /// Whether every call agrees.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.agreeing == self.calls
    }
}

/// Counts over calls, and jitter averaged over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Packets, each counted once.
    pub received: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came again.
    pub duplicate: u64,
    /// Packets that came after a later one.
    pub out_of_order: u64,
    /// Mean jitter, milliseconds.
    pub jitter_mean_ms: f64,
}

impl Figures {
    fn from_truth(truth: &Truth) -> Self {
        Self {
            received: u64::from(truth.sent()),
            lost: u64::from(truth.lost()),
            duplicate: u64::from(truth.duplicates()),
            out_of_order: u64::from(truth.reordered()),
            jitter_mean_ms: truth.jitter_mean().map_or(0.0, millis),
        }
    }

    fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.lost += other.lost;
        self.duplicate += other.duplicate;
        self.out_of_order += other.out_of_order;
        self.jitter_mean_ms += other.jitter_mean_ms;
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of calls")]
    fn mean_over(&mut self, calls: usize) {
        self.jitter_mean_ms /= calls.max(1) as f64;
    }
}

/// One call that was measured otherwise than it was sent.
#[derive(Clone, Debug, Serialize)]
pub struct CallDisagreement {
    /// The Call-ID.
    pub call_id: String,
    /// In what.
    pub faults: Vec<Disagreement>,
}

/// One figure that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    /// Its name in the API.
    pub figure: &'static str,
    /// What was sent.
    pub injected: String,
    /// What the appliance says.
    pub measured: String,
}

/// A call as the API shows it, as far as it is compared.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CallView {
    /// trying, ringing, active, ended or failed.
    pub state: String,
    /// clean or suspect.
    pub integrity: String,
    /// Both directions.
    #[serde(default)]
    pub streams: Vec<StreamView>,
}

impl CallView {
    /// The stream that the appliance received: the longest, should there be several.
    fn received(&self) -> Option<&StreamView> {
        let received = self.streams.iter().filter(|stream| stream.direction == "rx");
        received.max_by_key(|stream| stream.packets_received)
    }
}

/// A stream as the API shows it, as far as it is compared.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct StreamView {
    /// rx or tx, seen from the appliance.
    pub direction: String,
    /// Packets, each counted once.
    pub packets_received: Option<u64>,
    /// Packets that never came.
    pub packets_lost: Option<u64>,
    /// Packets that came again.
    pub packets_duplicate: Option<u64>,
    /// Packets that came after a later one.
    pub packets_out_of_order: Option<u64>,
    /// Mean of the A.8 estimate, milliseconds.
    pub jitter_mean_ms: Option<f64>,
}

impl StreamView {
    fn figures(&self) -> Figures {
        Figures {
            received: self.packets_received.unwrap_or(0),
            lost: self.packets_lost.unwrap_or(0),
            duplicate: self.packets_duplicate.unwrap_or(0),
            out_of_order: self.packets_out_of_order.unwrap_or(0),
            jitter_mean_ms: self.jitter_mean_ms.unwrap_or(0.0),
        }
    }
}

/// Where a call was measured otherwise than it was sent. Counts must be equal, jitter close.
#[must_use]
pub fn disagreements(truth: &Truth, view: &CallView) -> Vec<Disagreement> {
    let mut found = Vec::new();
    let mut expect = |figure, agrees: bool, injected: String, measured: String| {
        if !agrees {
            found.push(Disagreement { figure, injected, measured });
        }
    };
    expect("state", view.state == "ended", "ended".into(), view.state.clone());
    expect("integrity", view.integrity == "clean", "clean".into(), view.integrity.clone());
    let Some(stream) = view.received() else {
        expect("streams", false, "an rx stream".into(), "none".into());
        return found;
    };
    for (figure, injected, measured) in [
        ("packets_received", truth.sent(), stream.packets_received),
        ("packets_lost", truth.lost(), stream.packets_lost),
        ("packets_duplicate", truth.duplicates(), stream.packets_duplicate),
        ("packets_out_of_order", truth.reordered(), stream.packets_out_of_order),
    ] {
        let agrees = measured == Some(u64::from(injected));
        expect(figure, agrees, injected.to_string(), or_null(measured));
    }
    let injected = truth.jitter_mean().map(millis);
    let agrees = match (injected, stream.jitter_mean_ms) {
        (Some(injected), Some(measured)) => jitter_agrees(injected, measured),
        (None, None) => true,
        _ => false,
    };
    let show = |value: Option<f64>| or_null(value.map(|ms| format!("{ms:.3}")));
    expect("jitter_mean_ms", agrees, show(injected), show(stream.jitter_mean_ms));
    found
}

fn or_null<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| String::from("null"), |value| value.to_string())
}

fn jitter_agrees(injected_ms: f64, measured_ms: f64) -> bool {
    (measured_ms - injected_ms).abs() <= (injected_ms * JITTER_TOLERANCE).max(JITTER_FLOOR_MS)
}

#[derive(Deserialize)]
struct ActiveCalls {
    active_calls: u64,
}

/// Why nothing can be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The token file cannot be read.
    #[error("cannot read the API token {path}: {reason}")]
    Token {
        /// The file.
        path: String,
        /// What the system says.
        reason: io::Error,
    },
}

/// The two ends stamp a packet in different places, microseconds apart.
const JITTER_TOLERANCE: f64 = 0.1;
/// Where packets go out nearly on time, the way from our clock reading to the kernel's time
/// stamp, and whatever interrupts it, is itself a share of the jitter.
const JITTER_FLOOR_MS: f64 = 0.3;
/// Requests that run at one time; more would be a load of their own.
const FETCHERS: usize = 4;
/// A call is finished by the appliance's next turns, its last reports included.
const SETTLE_MAX: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_millis(100);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Five times as often as a dashboard.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
