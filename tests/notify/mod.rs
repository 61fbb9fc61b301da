//! What the tests of notifications share: notifiers from TOML, and an HTTP server that answers as
//! it is told, well or badly. It knows no assertion.
#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    io::{BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use voxplane::{
    notify::{
        Handle, Notification, Notifiers, Options, RawSettings, Settings, Severity, State, Status,
        complete,
    },
    source::clock,
    time::Timestamp,
};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Notifiers from tables; `SECRET` in the environment is `secret`.
pub(crate) fn settings(tables: &str, secret: &str) -> Result<Vec<Settings>, String> {
    #[derive(serde::Deserialize)]
    struct File {
        notify: Vec<RawSettings>,
    }
    let file: File = toml::from_str(tables).map_err(|error| error.to_string())?;
    let env = |name: &str| (name == "SECRET").then(|| secret.to_owned());
    complete(&file.notify, &env).map_err(|error| error.to_string())
}

/// Running notifiers from tables.
pub(crate) fn start(tables: &str, secret: &str) -> Notifiers {
    let notifiers = settings(tables, secret).unwrap();
    Notifiers::start(Options { notifiers, host: "box1".to_owned(), clock: clock::now }).unwrap()
}

/// A step of an alert.
pub(crate) fn alert(id: u64, state: State) -> Notification {
    Notification {
        id,
        rule: "high_packet_loss".to_owned(),
        severity: Severity::Error,
        state,
        message: "6.2 % of a call's packets are lost <!channel> [x](http://evil)".to_owned(),
        call_id: Some("a/b c@host".to_owned()),
        started_at: at("2026-01-31T12:00:00Z"),
        time: at("2026-01-31T12:00:05.25Z"),
        value: Some(6.2),
        threshold: Some(2.0),
        unit: "percent".to_owned(),
        evidence: serde_json::json!({ "interval_s": 5, "query": "/api/qos/history?limit=1" }),
    }
}

/// A time.
pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Waits until the only notifier is as asked.
pub(crate) fn until(handle: &Handle, is_so: impl Fn(&Status) -> bool) -> Status {
    for _ in 0..PATIENCE.as_millis() / 5 {
        let status = handle.status().remove(0);
        if is_so(&status) {
            return status;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("never: {:?}", handle.status());
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Method and path.
    pub(crate) line: String,
    /// Names are in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Body.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Status, more header fields, body.
    Is(u16, &'static str, String),
    /// Nothing at all, until the other side goes.
    Silence,
    /// A head, then a byte now and then, until the other side goes.
    Drip,
    /// 200 and a body without an end, until the other side goes.
    Endless,
    /// The connection is closed.
    Close,
}

impl Answer {
    /// A plain answer.
    pub(crate) fn status(status: u16) -> Self {
        Self::Is(status, "", String::new())
    }
}

/// An HTTP server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    requests: mpsc::Receiver<Request>,
}

impl Server {
    /// Answers the first request with the first answer and so on, then with the last for ever.
    pub(crate) fn start(answers: Vec<Answer>) -> Self {
        Self::start_with(answers, None)
    }

    /// The same over TLS, where that is configured.
    pub(crate) fn start_with(answers: Vec<Answer>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        let (answers, count) = (Arc::new(answers), Arc::new(AtomicUsize::new(0)));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (sender, answers) = (sender.clone(), Arc::clone(&answers));
                let (count, tls) = (Arc::clone(&count), tls.clone());
                thread::spawn(move || {
                    let stream = stream.unwrap();
                    // The other side may be gone at any point.
                    let _ = match tls {
                        None => serve(&stream, &sender, &answers, &count),
                        Some(tls) => {
                            let session = ServerConnection::new(tls).unwrap();
                            let stream = StreamOwned::new(session, &stream);
                            serve(stream, &sender, &answers, &count)
                        }
                    };
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { addr, requests }
    }

    /// Its URL with a token in it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook/t0k3n-in-path", self.addr)
    }

    /// The next request.
    pub(crate) fn request(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).unwrap()
    }

    /// Whether there is none that has not been taken.
    pub(crate) fn is_quiet(&self) -> bool {
        self.requests.try_recv().is_err()
    }
}

/// Serves one connection.
fn serve(
    stream: impl Read + Write,
    requests: &mpsc::Sender<Request>,
    answers: &[Answer],
    count: &AtomicUsize,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream)? {
        let to = stream.get_mut();
        let number = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        // A test that has seen enough is gone.
        let _ = requests.send(request);
        match &answers[number] {
            Answer::Is(status, fields, body) => {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{fields}\r\n");
                to.write_all(format!("{head}{body}").as_bytes())?;
            }
            Answer::Silence => drop(to.read(&mut [0])?),
            Answer::Drip => {
                to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
                loop {
                    to.write_all(b".")?;
                    thread::sleep(Duration::from_millis(20));
                }
            }
            Answer::Endless => {
                to.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                loop {
                    to.write_all(&[b'x'; 65_536])?;
                }
            }
            Answer::Close => return Ok(()),
        }
    }
    Ok(())
}

fn read(from: &mut impl std::io::BufRead) -> std::io::Result<Option<Request>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<_> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").unwrap();
    let mut body = vec![0; length.1.parse().unwrap()];
    from.read_exact(&mut body)?;
    Ok(Some(Request { line: lines.remove(0), headers, body }))
}

/// A port of this host that nobody listens on.
pub(crate) fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
