//! Syslog over UDP and TCP, to servers that come and go.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    io::Read as _,
    net::{TcpListener, TcpStream, UdpSocket},
};

use voxplane::notify::State;

mod notify;
use notify::{PATIENCE, alert, start, until};

fn table(address: &str) -> String {
    format!("[[notify]]\nname = 'log'\nkind = 'syslog'\naddress = '{address}'\nfacility = 'daemon'")
}

/// Reads one message and checks the length before it (RFC 6587 section 3.4.1).
fn message(stream: &mut TcpStream) -> String {
    let mut length = String::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        match byte[0] {
            b' ' => break,
            digit => length.push(char::from(digit)),
        }
    }
    let mut text = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_datagram_is_one_message() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let notifiers = start(&table(&format!("udp://{}", socket.local_addr().unwrap())), "");
    notifiers.handle().notify(alert(1, State::Firing));
    notifiers.handle().notify(alert(1, State::Resolved));
    let mut buffer = [0; 4096];
    let mut next = || {
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let (firing, resolved) = (next(), next());
    // daemon 3: 3 × 8 + 3 (error), then 3 × 8 + 5 (notice).
    assert!(firing.starts_with("<27>1 2026-01-31T12:00:05.250Z box1 voxplane "), "{firing}");
    assert!(firing.contains(" high_packet_loss [voxplane@32473 id=\"1\" state=\"firing\""));
    assert!(firing.contains("callId=\"a/b c@host\""));
    assert!(resolved.starts_with("<29>1 "), "{resolved}");
    until(&notifiers.handle(), |status| status.sent == 2);
}

#[test]
fn a_stream_is_kept_and_each_message_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let notifiers = start(&table(&format!("tcp://{}", listener.local_addr().unwrap())), "");
    (1..=3).for_each(|id| notifiers.handle().notify(alert(id, State::Firing)));
    let mut stream = accept(&listener);
    for id in 1..=3 {
        let text = message(&mut stream);
        assert!(text.contains(&format!("id=\"{id}\"")), "{text}");
    }
    let status = until(&notifiers.handle(), |status| status.sent == 3);
    assert_eq!(status.retried, 0);
}

#[test]
fn a_server_that_went_loses_nothing_that_comes_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let notifiers = start(&table(&format!("tcp://{}", listener.local_addr().unwrap())), "");
    let handle = notifiers.handle();
    handle.notify(alert(1, State::Firing));
    let mut first = accept(&listener);
    assert!(message(&mut first).contains("id=\"1\""));
    until(&handle, |status| status.sent == 1);
    drop(first);
    handle.notify(alert(2, State::Firing));
    let mut second = accept(&listener);
    assert!(message(&mut second).contains("id=\"2\""));
    until(&handle, |status| status.sent == 2);
}

#[test]
fn nobody_there_is_tried_again() {
    let address = notify::closed_port();
    let notifiers = start(&table(&format!("tcp://{address}")), "");
    let handle = notifiers.handle();
    handle.notify(alert(1, State::Firing));
    let status = until(&handle, |status| status.retried > 0);
    assert!(status.last_error.unwrap().starts_with(&format!("tcp://{address}: ")));
    let listener = TcpListener::bind(address).unwrap();
    assert!(message(&mut accept(&listener)).contains("id=\"1\""));
    until(&handle, |status| status.sent == 1);
}
