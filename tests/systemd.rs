//! What systemd hears of the program: ready, alive, at its end; and what its files say.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::{Child, Command, Stdio},
    time::Duration,
};

mod live;
use live::{RTP_PORTS, STOP_MAX, Scratch, VOXPLANE, free_ports, signal, wait};

/// The program with a line to us, as systemd would start it.
fn start(directory: &Scratch, name: &str, watchdog_us: &str) -> Child {
    let rtp = free_ports(RTP_PORTS);
    let mut command = Command::new(VOXPLANE);
    command.args(["run", "--shards", "2", "--http", "127.0.0.1:0", "--sip", "127.0.0.1:0"]);
    command.args(["--rtp-ports", &format!("{rtp}-{}", rtp + RTP_PORTS - 1)]);
    command.arg("--data").arg(directory.path());
    command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", watchdog_us);
    command.stdout(Stdio::null()).spawn().unwrap()
}

fn hear(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn it_says_that_it_is_ready_alive_and_ends() {
    let directory = Scratch::new();
    let path = directory.path().join("notify");
    let abstract_name = format!("voxplane-test-{}", std::process::id());
    let by_path = UnixDatagram::bind(&path).unwrap();
    let by_name =
        UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap();
    for (name, socket) in
        [(path.display().to_string(), by_path), (format!("@{abstract_name}"), by_name)]
    {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut child = start(&directory, &name, "300000");
        let ready = hear(&socket);
        assert!(ready.starts_with("READY=1\nSTATUS=SIP on 127.0.0.1:"), "{ready}");
        for _ in 0..3 {
            assert_eq!(hear(&socket), "WATCHDOG=1");
        }
        signal(child.id(), "TERM");
        let end = (0..100).map(|_| hear(&socket)).find(|state| state != "WATCHDOG=1");
        assert_eq!(end.as_deref(), Some("STOPPING=1\nSTATUS=hanging up"));
        assert_eq!(wait(&mut child, STOP_MAX).and_then(|status| status.code()), Some(0));
    }
}

#[test]
fn the_unit_asks_for_what_the_program_gives() {
    let unit = fs::read_to_string("deploy/voxplane.service").unwrap();
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_else(|| panic!("{key} is not there"))
    };
    assert_eq!((value("Type"), value("NotifyAccess")), ("notify", "main"));
    // An idle shard shows life once a second; three chances to.
    assert!(value("WatchdogSec").parse::<u64>().unwrap() >= 10);
    assert_eq!(value("DynamicUser"), "yes");
    assert_eq!(value("AmbientCapabilities"), "CAP_NET_BIND_SERVICE");
    assert_eq!(value("CapabilityBoundingSet"), "CAP_NET_BIND_SERVICE");
    let stop: u64 = value("TimeoutStopSec").parse().unwrap();
    assert!(stop > 5, "the program takes up to 5 s");
}
