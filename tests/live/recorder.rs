//! A recording of what goes over loopback to and from the running appliance, by dumpcap. It looks
//! at nothing in it.
#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    caller::Caller,
    live::{self, Appliance, RTP_PORTS, eventually, is_installed},
};

/// A recording that goes on until this is dropped.
#[derive(Debug)]
pub(crate) struct Recorder {
    dumpcap: Child,
    file: PathBuf,
}

impl Recorder {
    /// Whether there can be one; says why not.
    pub(crate) fn is_possible() -> bool {
        if !is_installed("dumpcap", "wireshark-common") {
            return false;
        }
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        if !is_root {
            live::skip("recording takes root");
        }
        is_root
    }

    /// Records, from now on, what goes to or from the appliance.
    pub(crate) fn start(appliance: &Appliance, caller: &Caller, file: &Path) -> Self {
        let (sip, rtp) = (appliance.sip.port(), appliance.rtp_port);
        let filter = format!("udp portrange {rtp}-{} or udp port {sip}", rtp + RTP_PORTS - 1);
        let dumpcap = Command::new("dumpcap")
            .args(["-q", "-i", "lo", "-f", &filter, "-w"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let recorder = Self { dumpcap, file: file.to_owned() };
        recorder.see(caller, "are-you-recorded").expect("a recording");
        recorder
    }

    /// Ends the recording, once all that was sent until now is in it.
    pub(crate) fn stop(self, caller: &Caller) {
        self.see(caller, "the-last-of-it").expect("a recording to its end");
    }

    /// Sends a request with this Call-ID until it is in the file.
    fn see(&self, caller: &Caller, call: &str) -> Option<()> {
        eventually(Duration::from_secs(10), || {
            caller.send("OPTIONS", call, "");
            let recorded = fs::read(&self.file).unwrap_or_default();
            recorded.windows(call.len()).any(|bytes| bytes == call.as_bytes()).then_some(())
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        live::signal(self.dumpcap.id(), "INT");
        self.dumpcap.wait().unwrap();
    }
}
