//! A way to a server that counts the bytes that come back over it.
//!
//! Owns its threads, which end with the connections; the listener stays for as long as the bench runs.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::failure::Failure;

/// From an address of its own to a server.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// What is connected to in place of the server.
    pub(crate) address: SocketAddr,
    returned: Arc<AtomicU64>,
}

impl Pipe {
    /// Opens it to `server`, which is connected to for each connection that comes.
    ///
    /// # Errors
    /// When the system gives no port.
    pub(crate) fn open(server: SocketAddr) -> Result<Self, Failure> {
        let failed = || Failure::system("open a way that counts");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let returned: Arc<AtomicU64> = Arc::default();
        let count = Arc::clone(&returned);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Who connects sees that it was closed.
                let _ = join(client, server, &count);
            }
        });
        Ok(Self { address, returned })
    }

    /// Bytes that came back from the server so far.
    pub(crate) fn returned_bytes(&self) -> f64 {
        self.returned.load(Ordering::Relaxed) as f64
    }
}

fn join(client: TcpStream, server: SocketAddr, returned: &Arc<AtomicU64>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || carry(from, to, &AtomicU64::new(0)));
    let returned = Arc::clone(returned);
    thread::spawn(move || carry(server, client, &returned));
    Ok(())
}

/// Until one end closes; then the other one is told.
fn carry(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        count.fetch_add(bytes as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    // An end that is closed already does not mind.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_counted() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let pipe = Pipe::open(server.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::connect(pipe.address).unwrap();
        client.write_all(b"question").unwrap();
        let (mut answering, _) = server.accept().unwrap();
        answering.read_exact(&mut [0; 8]).unwrap();
        answering.write_all(b"yes").unwrap();
        drop(answering);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((answer.as_str(), pipe.returned_bytes()), ("yes", 3.0));
    }
}
