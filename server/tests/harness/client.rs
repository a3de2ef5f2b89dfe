//! A Pusher client over a real WebSocket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::{Message, WebSocket};

use super::{PATIENCE, Server};

pub struct Client<S = TcpStream> {
    pub socket: WebSocket<S>,
    /// Set by [`Client::connect`].
    pub socket_id: String,
}

impl Client {
    /// Upgrades at `path`, and reads nothing.
    pub fn upgrade(server: &Server, path: &str) -> Self {
        Self::upgrade_over(TcpStream::connect(server.address).unwrap(), server.address, path)
    }

    /// Upgrades over a socket that the test has made.
    pub fn upgrade_over(stream: TcpStream, address: SocketAddr, path: &str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::upgrade_with(stream, address, path, &[])
    }

    /// Connects as pusher-js does, and hears the hello.
    pub fn connect(server: &Server) -> Self {
        Self::upgrade(server, "/app/app-key?protocol=7&client=js&version=8.6.0&flash=false").greeted()
    }
}

impl<S: Read + Write> Client<S> {
    /// Upgrades over any stream, with headers of the test's choice.
    pub fn upgrade_with(
        stream: S,
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Self {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let handshake = tungstenite::client(request, stream);
        let (socket, response) = handshake.map_err(|error| error.to_string()).unwrap();
        assert_eq!(response.status(), 101);
        Self { socket, socket_id: String::new() }
    }

    /// Hears the hello.
    pub fn greeted(mut self) -> Self {
        let hello = self.event();
        assert_eq!(hello["event"], "pusher:connection_established");
        let data: Value = serde_json::from_str(hello["data"].as_str().unwrap()).unwrap();
        self.socket_id = data["socket_id"].as_str().unwrap().to_owned();
        self
    }

    pub fn send(&mut self, text: impl ToString) {
        self.socket.send(Message::text(text.to_string())).unwrap();
    }

    pub fn subscribe(&mut self, channel: &str) {
        self.send(json!({"event": "pusher:subscribe", "data": {"auth": "", "channel": channel}}));
        let succeeded = self.event();
        assert_eq!(succeeded["event"], "pusher_internal:subscription_succeeded", "{succeeded}");
        assert_eq!(succeeded["channel"], channel);
    }

    /// The next text, byte for byte.
    pub fn text(&mut self) -> String {
        match self.socket.read().unwrap() {
            Message::Text(text) => text.to_string(),
            other => panic!("expected a text, but found {other:?}"),
        }
    }

    /// The next event.
    pub fn event(&mut self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// The next event, of which only the data is of interest.
    pub fn data(&mut self) -> String {
        let event = self.event();
        event["data"]
            .as_str()
            .unwrap_or_else(|| panic!("expected data that is a text, but found {event}"))
            .to_owned()
    }

    /// The close frame that comes next.
    pub fn close_frame(&mut self) -> CloseFrame {
        match self.socket.read().unwrap() {
            Message::Close(Some(frame)) => frame,
            other => panic!("expected a close frame, but found {other:?}"),
        }
    }

    /// Proves that everything sent before has been dealt with, and that nothing else was said about it.
    pub fn settle(&mut self) {
        self.send(r#"{"event":"pusher:ping","data":{}}"#);
        assert_eq!(self.text(), r#"{"event":"pusher:pong","data":"{}"}"#);
    }

    /// Answers the close handshake to its end: the server closes the TCP connection.
    pub fn finish(mut self) {
        loop {
            match self.socket.read() {
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => return,
                Err(error) => panic!("expected the connection to be closed in good order, but found {error}"),
            }
        }
    }
}
