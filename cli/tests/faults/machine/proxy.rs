//! A way between two nodes that stops forwarding, with its connections left open.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::load::lock;

#[derive(Default)]
struct State {
    stalled: AtomicBool,
    ended: AtomicBool,
    /// Bytes that were forwarded.
    forwarded: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

/// Forwards a port of loopback to another one.
pub(crate) struct Proxy {
    state: Arc<State>,
    port: u16,
}

impl Proxy {
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it has an address").port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.ended.load(Ordering::Acquire) {
                    return;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                forward(&shared, &stream, &far);
                forward(&shared, &far, &stream);
            }
        });
        Self { state, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn forwarded(&self) -> usize {
        self.state.forwarded.load(Ordering::Relaxed)
    }

    /// From now on bytes are taken and lost, also of connections to come.
    pub(crate) fn stall(&self) {
        self.state.stalled.store(true, Ordering::Release);
    }
}

/// Copies one direction on a thread.
fn forward(state: &Arc<State>, from: &TcpStream, to: &TcpStream) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
    if let Ok(stream) = from.try_clone() {
        lock(&state.streams).push(stream);
    }
    let state = Arc::clone(state);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if state.stalled.load(Ordering::Acquire) {
                continue;
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
            state.forwarded.fetch_add(count, Ordering::Relaxed);
        }
        if !state.stalled.load(Ordering::Acquire) {
            // One end has gone, so the other goes.
            let _ = to.shutdown(Shutdown::Both);
        }
    });
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Release);
        for stream in lock(&self.state.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the one that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}
