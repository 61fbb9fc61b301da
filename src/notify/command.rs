//! A command on this host: started without a shell, told on its standard input, killed when it
//! takes too long, with all that it started.
//!
//! One at a time for each notifier. It gets none of our environment but its path: that may hold
//! secrets.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, memfd_create},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use super::{Failure, Notification, line::Retry};

/// Runs the command with a body on its standard input. A command that ends with 0 has delivered
/// it; another that ran to its end has failed and is run again later.
pub(super) fn run(
    argv: &[String],
    notification: &Notification,
    body: &[u8],
    timeout: Duration,
) -> Result<String, Failure> {
    let (program, arguments) = argv.split_first().map_or(("", argv), |(first, rest)| (first, rest));
    let later =
        |reason: String| Failure { reason: format!("{program}: {reason}"), retry: Retry::Later };
    let input = input(body).map_err(|error| later(error.to_string()))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment(notification))
        // A file in memory, not a pipe: a command that reads nothing blocks nobody.
        .stdin(input)
        .stdout(Stdio::null())
        // Leads a group, so that all of it can be killed.
        .process_group(0);
    let mut child = command.spawn().map_err(|error| later(error.to_string()))?;
    let ended = wait(&child, timeout);
    // What it left running has lost its time as well. Its number is its own until it is reaped.
    kill_group(&child);
    let status = child.wait().map_err(|error| later(error.to_string()))?;
    match ended {
        Ok(true) if status.success() => Ok(status.to_string()),
        Ok(true) => Err(later(status.to_string())),
        Ok(false) => Err(later(format!("killed after {} s", timeout.as_secs()))),
        Err(error) => Err(later(error.to_string())),
    }
}

/// Whether it ends in time. It is not reaped.
fn wait(child: &Child, timeout: Duration) -> io::Result<bool> {
    let process = pidfd_open(pid(child)?, PidfdFlags::empty())?;
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    loop {
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            // A signal of ours: they come once or twice in a life.
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn kill_group(child: &Child) {
    // Nobody left is the good case.
    let _ = pid(child).map(|pid| kill_process_group(pid, Signal::KILL));
}

fn pid(child: &Child) -> io::Result<Pid> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::other("no such process"))
}

fn input(body: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("voxplane-notification", MemfdFlags::CLOEXEC)?);
    file.write_all(body)?;
    file.rewind()?;
    Ok(file.into())
}

/// What a short script needs. Values come from callers: whoever uses one quotes it.
fn environment(notification: &Notification) -> Vec<(&'static str, String)> {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let mut all = vec![
        ("VOXPLANE_ID", notification.id.to_string()),
        ("VOXPLANE_TYPE", notification.rule.clone()),
        ("VOXPLANE_SEVERITY", notification.severity.to_string()),
        ("VOXPLANE_STATE", notification.state.to_string()),
        ("VOXPLANE_MESSAGE", notification.message.clone()),
        ("VOXPLANE_CALL_ID", notification.call_id.clone().unwrap_or_default()),
        ("VOXPLANE_TIMESTAMP", notification.time.to_string()),
        ("VOXPLANE_VALUE", number(notification.value)),
        ("VOXPLANE_THRESHOLD", number(notification.threshold)),
        ("VOXPLANE_UNIT", notification.unit.clone()),
    ];
    for (_, value) in &mut all {
        // No variable can hold a NUL, and nothing of ours is longer.
        *value = value.replace(char::is_control, " ").chars().take(VALUE_CHARS_MAX).collect();
    }
    let path = std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned());
    all.push(("PATH", path));
    all
}

const VALUE_CHARS_MAX: usize = 4096;
/// Where commands are if we are not told.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
