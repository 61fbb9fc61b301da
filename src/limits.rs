//! Every bound of the data plane, with what it costs.

use core::time::Duration;

/// RTP streams that one shard measures at once. 576 bytes each when in use, 48 more with addresses
/// of IPv6, and 120 more once a packet has been lost, a few more with a run of five; address space
/// only, until then. A stream past this is not measured, and counted.
pub const STREAMS_MAX: usize = 200_000;

/// Calls that one shard's dialog table holds by default, finished ones that still answer
/// retransmissions included. About 2 KB each when in use. A call past this gets a 503.
pub const DIALOGS_MAX: usize = 50_000;

/// Contacts that one shard's registrar knows by default, of all users; up to 1.5 KB each when in
/// use, 30 MB in all, which control shares. A REGISTER that would add one past this gets a 503.
pub const BINDINGS_MAX: usize = 20_000;

/// Contacts of one user, and contacts of one REGISTER. A desk phone, two softphones and a few that
/// have not ended yet; one more is refused with a 503.
pub const CONTACTS_PER_USER_MAX: usize = 10;

/// Longest contact that is registered, bytes with all its parameters (RFC 5626 and GRUU need some
/// 200), and longest address of record; a longer one is refused with a 400.
pub const CONTACT_MAX: usize = 512;

/// Longest User-Agent and Call-ID that is kept of a registered contact; longer ones are cut.
pub const BINDING_TEXT_MAX: usize = 128;

/// Users whose contacts have changed that wait between a shard and control: 2048 × 32 bytes, and
/// 200,000 a second.
pub const REGISTERED_RING_SLOTS: usize = 2048;

/// Nonces of one shard of which it is known what has been used, 150 bytes each. Those that are
/// forgotten are answered with a new one.
pub const NONCES_MAX: usize = 8192;

/// Reports that wait between a shard and control: 8192 × 352 bytes = 2.8 MiB a shard. At 10,000
/// streams a shard this is four seconds, or two if all of them lose packets.
pub const REPORT_RING_SLOTS: usize = 8192;

/// Bytes of SIP messages that wait between two shards. Some 1,500 messages.
pub const HANDOFF_RING_BYTES: usize = 1 << 20;

/// Connections that SIP comes over, TCP and TLS, that one shard holds by default. Each costs a
/// descriptor and some 1 KB, and 40 KB more under TLS. One past this is closed at once and counted.
pub const CONNECTIONS_MAX: usize = 4096;

/// Connections of one address that one shard holds: an office behind a translator may have hundreds
/// of phones. One past this is closed at once and counted.
pub const CONNECTIONS_PER_SOURCE_MAX: usize = 1024;

/// Connections under way from the shard that accepted them to the one that is to hold them.
pub const ARRIVALS_MAX: usize = 256;

/// Bytes that wait to be sent over one connection. Who does not take them loses it.
pub const CONNECTION_SEND_MAX: usize = 256 << 10;

/// Bytes of SIP messages from connections that wait for one shard to handle them. Past this nothing
/// more is read, so that the far ends have to wait.
pub const STREAM_INBOX_BYTES: usize = 1 << 20;

/// Bytes of SIP messages on their way from a shard to the ladders of their calls. Some 2,000
/// messages: what 20,000 a second are in the time between two looks of control, ten times.
pub const LADDER_RING_BYTES: usize = 1 << 20;

/// Datagrams of one shard that wait for room in a send buffer.
pub const SEND_QUEUE_MAX: usize = 4096;

/// Receive slots for media: an RTP packet is no longer than an Ethernet frame.
pub const MEDIA_SLOT_BYTES: usize = 2048;

/// Receive slots for SIP: the longest UDP datagram there is.
pub const SIP_SLOT_BYTES: usize = 65_536;

/// SIP datagrams taken by one system call; 16 slots are 1 MiB a shard.
pub const SIP_BATCH: usize = 16;

/// Batches that a shard takes from one socket before it looks at the next.
pub const BATCHES_PER_TURN: usize = 8;

/// Orders to one shard that wait to be taken, which it does in every turn.
pub const COMMANDS_MAX: usize = 256;

/// Timers that a shard runs before it looks at its sockets again.
pub const TIMERS_PER_TURN: usize = 512;

/// Calls of test numbers whose packets a shard sends before it looks at its sockets again: 10,000
/// of them have 500 packets due in a millisecond.
pub const SENDS_PER_TURN: usize = 1024;

/// Longest Call-ID, From, To or User-Agent that leaves a shard; longer ones are cut, since
/// an operator reads them and memory is finite.
pub const TEXT_MAX: usize = 512;

/// Speech payload formats remembered of one session description.
pub const FORMATS_MAX: usize = 8;

/// How often a stream reports while it lasts.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// When a stream first reports: once it has the second of speech that a score needs, so that who
/// looks at a call that has just begun sees it measured.
pub const FIRST_REPORT: Duration = Duration::from_millis(1200);

/// A stream that is silent this long has ended (RFC 3550 section 6.3.5 would have 5 intervals
/// of RTCP; a test number may be held without RTP, and a stream that comes back is taken up).
pub const STREAM_IDLE: Duration = Duration::from_secs(30);

/// The longest nap of a shard that has media: the packets of 500 µs fill a batch at 100,000 a
/// second.
pub const NAP_MAX: Duration = Duration::from_micros(500);

/// The longest nap of a shard that has signalling only, which a few milliseconds do not harm: the
/// shortest time that SIP knows is T1, 500 ms.
pub const SIP_NAP_MAX: Duration = Duration::from_millis(2);

/// The jitter buffer that scores assume by default: fixed, with this delay over the fastest packet.
pub const JITTER_BUFFER: Duration = Duration::from_millis(60);

const _: () = assert!(FORMATS_MAX >= 4, "speech, events, comfort noise and one spare");
const _: () = assert!(REPORT_RING_SLOTS.is_power_of_two());
