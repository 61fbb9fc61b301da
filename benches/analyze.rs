//! `voxplane analyze` on captures of known content: time against `capinfos -c`, memory, threads.
//!
//! `cargo bench --bench analyze` takes the capture of 500 calls of 20 s; with `-- --large` also
//! one of 5,000 calls of 60 s, 30 million packets, for which it writes 7 GB to the temporary
//! directory. `-- --test` only sees whether everything runs.
#![expect(clippy::print_stdout, reason = "its result is what it prints")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "../tests/common/generate.rs"]
mod generate;

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use generate::Generator;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let is_asked = |name: &str| arguments.iter().any(|argument| argument == name);
    let rounds = if is_asked("--test") { 1 } else { ROUNDS };
    let small =
        if is_asked("--test") { Generator { calls: 20, seconds: 2, ..SMALL } } else { SMALL };
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("small.pcap");
    let packets = write(small, &path)?;
    let per_packet = measure(&path, packets, rounds)?;
    if is_asked("--large") {
        let path = directory.path().join("large.pcap");
        let packets = write(LARGE, &path)?;
        let large = measure(&path, packets, 1)?;
        println!("per packet, large over small: {:.2} (target 1.25 at most)", large / per_packet);
    }
    Ok(())
}

fn write(generator: Generator, path: &Path) -> io::Result<u64> {
    let mut to = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let truth = generator.write(&mut to)?;
    to.flush()?;
    let megabytes = fs::metadata(path)?.len() / 1_000_000;
    println!(
        "{} calls of {} s: {} packets, {megabytes} MB",
        generator.calls, generator.seconds, truth.packets
    );
    Ok(truth.packets)
}

/// Runs everything on one capture in turns, so that a busy host is busy for all, and prints the
/// medians. Gives back the nanoseconds a packet on one thread.
fn measure(path: &Path, packets: u64, rounds: usize) -> io::Result<f64> {
    let capinfos = Command::new("capinfos").arg("-v").output().is_ok();
    let mut times: [Vec<f64>; 4] = Default::default();
    // Looked at while they run, which takes time of its own; and once for the page cache.
    let peaks = [
        watch(analyze(path, 1), None)?,
        watch(analyze(path, 2), None)?,
        watch(analyze(Path::new("-"), 1), Some(path))?,
    ];
    for _ in 0..rounds {
        times[0].push(time(analyze(path, 1), None)?);
        times[1].push(time(analyze(path, 2), None)?);
        times[2].push(time(analyze(Path::new("-"), 1), Some(path))?);
        if capinfos {
            let mut command = Command::new("capinfos");
            command.arg("-c").arg(path);
            times[3].push(time(command, None)?);
        }
    }
    let [one, two, pipe, counted] = times.map(median);
    #[expect(clippy::cast_precision_loss, reason = "a count of packets")]
    let per_packet = one * 1e9 / packets as f64;
    println!("  one thread   {one:.3} s, {per_packet:.0} ns a packet, {} KiB at most", peaks[0]);
    println!("  two threads  {two:.3} s, {:.2} times as fast, {} KiB at most", one / two, peaks[1]);
    println!("  from a pipe  {pipe:.3} s, {} KiB at most", peaks[2]);
    if capinfos {
        println!("  capinfos -c  {counted:.3} s: one thread takes {:.2} of it", one / counted);
    }
    Ok(per_packet)
}

fn analyze(path: &Path, threads: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxplane"));
    command.args([OsStr::new("analyze"), path.as_os_str(), OsStr::new("--threads")]);
    command.arg(threads.to_string());
    command
}

/// Runs a command to its end and says how long that took, in seconds.
fn time(command: Command, input: Option<&Path>) -> io::Result<f64> {
    let start = Instant::now();
    let (mut child, mut feeder) = start_with(command, input)?;
    let status = child.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    if let Some(feeder) = &mut feeder {
        feeder.wait()?;
    }
    if status.success() {
        Ok(seconds)
    } else {
        Err(io::Error::other(format!("it failed: {status}")))
    }
}

/// Runs a command to its end and says how much memory it had resident at most, in KiB.
fn watch(command: Command, input: Option<&Path>) -> io::Result<u64> {
    let (mut child, mut feeder) = start_with(command, input)?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak = kilobytes.unwrap_or(peak);
        thread::sleep(LOOK);
    }
    if let Some(feeder) = &mut feeder {
        feeder.wait()?;
    }
    Ok(peak)
}

/// Starts a command, with a file at its standard input through a pipe.
fn start_with(mut command: Command, input: Option<&Path>) -> io::Result<(Child, Option<Child>)> {
    command.stdout(Stdio::null());
    let mut feeder = None;
    if let Some(path) = input {
        let mut cat = Command::new("cat").arg(path).stdout(Stdio::piped()).spawn()?;
        command.stdin(cat.stdout.take().expect("a pipe was asked for"));
        feeder = Some(cat);
    }
    Ok((command.spawn()?, feeder))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

const SMALL: Generator = Generator { calls: 500, seconds: 20, loss: 0.01, seed: 42 };
const LARGE: Generator = Generator { calls: 5000, seconds: 60, loss: 0.01, seed: 42 };

const ROUNDS: usize = 15;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(1);
