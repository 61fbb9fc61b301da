//! What receiving costs, live: the CPU time per packet of a running shard against a bare
//! `recvmmsg` loop with the same nap, under the same load, in one run.
//!
//! A thread sends G.711 packets of many streams at a steady rate. First the bare loop takes
//! them and throws them away, then a shard measures them; in turn, several times, and the median
//! of the ratios is the result.
#![expect(clippy::unwrap_used, reason = "a bench may fail")]
#![expect(clippy::print_stdout, reason = "its result is what it prints")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use voxplane::{
    config::RawConfig,
    id::{PayloadType, Ssrc},
    limits::{MEDIA_SLOT_BYTES, NAP_MAX},
    runtime::Appliance,
    source::{
        host,
        udp::{BATCH, Outgoing, RecvBatch, UdpOptions, UdpSocket},
    },
    wire::rtp::RtpHeader,
};
use zerocopy::IntoBytes as _;

fn main() {
    let is_smoke_run = std::env::args().any(|arg| arg == "--test");
    let (rounds, time) =
        if is_smoke_run { (1, Duration::from_millis(500)) } else { (5, Duration::from_secs(4)) };
    for rate in [20_000, 100_000] {
        let mut ratios = Vec::new();
        for _ in 0..rounds {
            let bare = bare_loop(rate, time);
            let shard = shard(rate, time);
            println!(
                "receive {rate}/s: bare {:.0} ns, shard {:.0} ns a packet, {:.2} times",
                bare,
                shard,
                shard / bare
            );
            ratios.push(shard / bare);
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ratios.len() / 2];
        println!("receive {rate}/s: median ratio {median:.2} of {rounds} rounds");
    }
}

/// CPU nanoseconds a packet of the simplest loop there is.
fn bare_loop(rate: u32, time: Duration) -> f64 {
    let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), UdpOptions::default()).unwrap();
    let target = socket.local_addr();
    let stop = Arc::new(AtomicBool::new(false));
    let receiver = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut batch = RecvBatch::new(BATCH, MEDIA_SLOT_BYTES);
            let (mut packets, mut start) = (0_u64, host::thread_cpu_nanos());
            let mut is_warm = false;
            let begin = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                while batch.receive(&socket).unwrap() == BATCH {
                    packets += BATCH as u64;
                }
                packets += batch.datagrams().len() as u64;
                if !is_warm && begin.elapsed() > WARM_UP {
                    (packets, start, is_warm) = (0, host::thread_cpu_nanos(), true);
                }
                thread::sleep(NAP_MAX);
            }
            per_packet(host::thread_cpu_nanos() - start, packets)
        }
    });
    send(target, rate, WARM_UP + time);
    stop.store(true, Ordering::Relaxed);
    receiver.join().unwrap()
}

/// CPU nanoseconds a packet of the appliance's own shard.
fn shard(rate: u32, time: Duration) -> f64 {
    let config = RawConfig {
        shards: Some(1),
        sip: Some("127.0.0.1:0".parse().unwrap()),
        http: Some("127.0.0.1:0".parse().unwrap()),
        rtp_ports: Some("24000-24063".parse().unwrap()),
        data: Some(std::env::temp_dir().join(format!("voxplane-receive-{}", std::process::id()))),
        ..RawConfig::default()
    };
    let config = config.complete().unwrap();
    let appliance =
        Appliance::start(&config, Box::new(|| RawConfig::default().complete())).unwrap();
    let target = "127.0.0.1:24000".parse().unwrap();
    send(target, rate, WARM_UP);
    let (cpu_before, packets_before) = (thread_nanos("shard-0"), received(&appliance));
    send(target, rate, time);
    // The shard reports its counters once a second; what it is asked is what it had done by then.
    thread::sleep(Duration::from_millis(1200));
    let (cpu, packets) = (thread_nanos("shard-0"), received(&appliance));
    appliance.stop().unwrap();
    let _ = fs::remove_dir_all(&config.data);
    per_packet(cpu - cpu_before, packets - packets_before)
}

/// Sends packets of `STREAMS` streams at a rate, and waits until it is done.
fn send(target: SocketAddr, rate: u32, time: Duration) {
    let socket = UdpSocket::bind("0.0.0.0:0".parse().unwrap(), UdpOptions::default()).unwrap();
    let payload = [0xFF; 160];
    let (mut sent, begin) = (0_u32, Instant::now());
    while begin.elapsed() < time {
        let due = begin.elapsed().as_micros() * u128::from(rate) / 1_000_000;
        let due = u32::try_from(due).unwrap();
        while sent < due {
            let count = (due - sent).min(STEP);
            let packets: Vec<Vec<u8>> = (sent..sent + count)
                .map(|number| {
                    let (stream, index) = (number % STREAMS, number / STREAMS);
                    let sequence = u16::try_from(index & 0xFFFF).unwrap();
                    let header = RtpHeader::new(
                        PayloadType(0),
                        false,
                        sequence,
                        index.wrapping_mul(160),
                        Ssrc(stream),
                    );
                    [header.as_bytes(), &payload].concat()
                })
                .collect();
            let outgoing: Vec<_> = (sent..sent + count)
                .zip(&packets)
                .map(|(number, payload)| {
                    let [_, _, a, b] = (number % STREAMS).to_be_bytes();
                    let src = Some(IpAddr::from([127, 1, a, b]));
                    Outgoing { src, dst: target, payload }
                })
                .collect();
            sent += u32::try_from(socket.send_batch(&outgoing).unwrap()).unwrap();
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// RTP packets that the appliance says it has handled.
fn received(appliance: &Appliance) -> u64 {
    use std::io::{Read as _, Write as _};
    let mut connection = std::net::TcpStream::connect(appliance.http_addr()).unwrap();
    write!(connection, "GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let health: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    health["shards"][0]["rtp_packets"].as_u64().unwrap()
}

/// CPU time of a thread of this process, by how its name begins.
fn thread_nanos(name: &str) -> u64 {
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        if fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.starts_with(name)) {
            let stat = fs::read_to_string(path.join("schedstat")).unwrap();
            return stat.split_whitespace().next().unwrap().parse().unwrap();
        }
    }
    panic!("no thread {name}");
}

fn per_packet(nanos: u64, packets: u64) -> f64 {
    nanos as f64 / packets.max(1) as f64
}

/// Packets that are sent by one system call.
const STEP: u32 = 64;
const _: () = assert!(STEP as usize == BATCH);

const STREAMS: u32 = 2000;

const WARM_UP: Duration = Duration::from_millis(500);
