//! The conversation with multipathd, with a server that speaks as multipathd does.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use bowline_host::{Host, HostError};
use bowline_linux::{LinuxHost, Settings};

const PATIENCE: Duration = Duration::from_secs(30);

/// An abstract address of this test alone.
fn address(test: &str) -> String {
    format!("bowline-test-{}-{test}", std::process::id())
}

/// Serves one connection: reads a command, and answers as `answer` says, in whatever bytes.
fn serve(test: &str, answer: impl FnOnce(&str, &mut UnixStream) + Send + 'static) -> LinuxHost {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(address(test)).unwrap()).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; size_of::<usize>()];
        stream.read_exact(&mut length).unwrap();
        let mut command = vec![0; usize::from_ne_bytes(length)];
        stream.read_exact(&mut command).unwrap();
        assert_eq!(command.pop(), Some(0));
        answer(std::str::from_utf8(&command).unwrap(), &mut stream);
    });
    host(vec!["/nowhere/multipathd.socket".into(), format!("@{}", address(test))])
}

fn host(multipathd_sockets: Vec<String>) -> LinuxHost {
    LinuxHost::new(Settings { multipathd_sockets, ..Settings::default() }).unwrap()
}

fn ask(host: &LinuxHost, command: &str, limit: Duration) -> Result<String, HostError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(host.ask_multipathd(command, limit))
}

fn framed(text: &[u8]) -> Vec<u8> {
    [&text.len().to_ne_bytes()[..], text].concat()
}

#[test]
fn a_command_is_answered_over_the_second_address() {
    let host = serve("answer", |command, stream| {
        let reply = framed(format!("heard {command}\n\0").as_bytes());
        // In two parts, as a stream may deliver it.
        stream.write_all(&reply[..5]).unwrap();
        thread::sleep(Duration::from_millis(20));
        stream.write_all(&reply[5..]).unwrap();
    });
    assert_eq!(ask(&host, "show daemon", PATIENCE).unwrap(), "heard show daemon");
}

#[test]
fn a_large_reply_arrives_whole() {
    let text = "x".repeat(3 << 20);
    let sent = text.clone();
    let host = serve("large", move |_, stream| {
        stream.write_all(&framed(&[sent.as_bytes(), b"\0"].concat())).unwrap();
    });
    assert_eq!(ask(&host, "show maps json", PATIENCE).unwrap(), text);
}

#[test]
fn a_reply_that_ends_early_is_an_error() {
    let host = serve("early", |_, stream| stream.write_all(&framed(b"ok\n\0")[..10]).unwrap());
    let error = ask(&host, "add path sda", PATIENCE).unwrap_err();
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::UnexpectedEof), "{error}");
}

#[test]
fn an_absurd_length_is_refused() {
    let host = serve("absurd", |_, stream| stream.write_all(&usize::MAX.to_ne_bytes()).unwrap());
    let error = ask(&host, "show daemon", PATIENCE).unwrap_err();
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::InvalidData), "{error}");
}

#[test]
fn silence_ends_at_the_limit() {
    let host = serve("silence", |_, _| thread::sleep(PATIENCE));
    let start = Instant::now();
    let error = ask(&host, "show daemon", Duration::from_millis(100)).unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("show daemon"), "{error}");
    assert!(start.elapsed() < PATIENCE / 2);
}

#[test]
fn nobody_listening_is_said_in_words() {
    let host = host(vec!["/nowhere/multipathd.socket".into(), format!("@{}", address("nobody"))]);
    let message = ask(&host, "show daemon", PATIENCE).unwrap_err().to_string();
    assert!(message.contains("multipathd is not running"), "{message}");
}
