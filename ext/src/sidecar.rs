//! `Fanfare\Sidecar`, the PHP class.
//!
//! Owns the arguments: their types, their order in messages, and nothing behind them.

use std::cell::RefCell;
use std::rc::Rc;

use ext_php_rs::boxed::ZBox;
use ext_php_rs::flags::ClassFlags;
use ext_php_rs::prelude::*;
use ext_php_rs::types::ZendHashTable;
use fanfare_wire::attach::SOCKET_PATH_BYTES_MAX;
use fanfare_wire::record::Draft;

use crate::attachment::{self, Attachment};
use crate::inquiry::{Answer, Question};
use crate::link::Identity;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::zend::{Channels, ChannelsArgument, NullableStringArgument, OptionsArgument, StringArgument};

/// Bytes of a path that is asked for: names of channels and users, and a query.
const PATH_BYTES_MAX: usize = 8192;

/// The local Fanfare server, as PHP sees it. See `stubs/fanfare.stub.php`.
#[php_class]
#[php(name = "Fanfare\\Sidecar", flags = ClassFlags::Final.union(ClassFlags::NoDynamicProperties))]
#[derive(Debug)]
pub struct Sidecar {
    attachment: Rc<RefCell<Attachment>>,
}

#[php_impl]
impl Sidecar {
    /// Checks its arguments; the first broadcast connects.
    pub fn __construct(
        socket: StringArgument<'_>,
        key: StringArgument<'_>,
        secret: StringArgument<'_>,
        options: OptionsArgument<'_>,
    ) -> PhpResult<Self> {
        let text = |argument: &StringArgument<'_>, position, name| -> Result<Vec<u8>, Outcome> {
            let bytes = argument.bytes("__construct", position, name)?;
            if bytes.is_empty() {
                return Err(Outcome::Value(format!(
                    "Fanfare\\Sidecar::__construct(): Argument #{position} (${name}) must not be empty"
                )));
            }
            Ok(bytes.to_vec())
        };
        let socket = text(&socket, 1, "socket")?;
        let identity = Identity {
            socket: socket_path(socket)?,
            key: text(&key, 2, "key")?,
            secret: text(&secret, 3, "secret")?,
        };
        let options = match options.array("__construct", 4, "options")? {
            Some(array) => Options::parse(array)?,
            None => Options::default(),
        };
        Ok(Self { attachment: attachment::shared(identity, options)? })
    }

    /// Hands one publication to the server.
    pub fn broadcast(
        &self,
        channels: ChannelsArgument<'_>,
        event: StringArgument<'_>,
        data: StringArgument<'_>,
        except: NullableStringArgument<'_>,
    ) -> PhpResult<()> {
        let channels = channels.names()?;
        let event = event.bytes("broadcast", 2, "event")?;
        let data = data.bytes("broadcast", 3, "data")?;
        let except = except.bytes("broadcast", 4, "except")?;
        check_text(&channels, event, data, except)?;
        let draft = Draft::new(channels, event, data, except).map_err(Outcome::from)?;
        let Ok(mut attachment) = self.attachment.try_borrow_mut() else {
            // Only a broadcast inside a broadcast could find it borrowed, and none calls PHP code.
            return Err(
                Outcome::Unavailable("another broadcast of this process is under way".to_owned()).into()
            );
        };
        Ok(attachment.broadcast(&draft)?)
    }

    /// Asks the server something, and waits for the answer: status and JSON.
    pub fn ask(
        &self,
        method: StringArgument<'_>,
        path: StringArgument<'_>,
        body: NullableStringArgument<'_>,
    ) -> PhpResult<ZBox<ZendHashTable>> {
        let text = |argument: &StringArgument<'_>, position, name| {
            let bytes = argument.bytes("ask", position, name)?;
            // Longer ones are no question's; the wire counts them with 16 bits.
            std::str::from_utf8(bytes)
                .ok()
                .filter(|text| text.len() <= PATH_BYTES_MAX)
                .map(str::to_owned)
                .ok_or_else(|| {
                    let rest = format!("must be UTF-8 text of at most {PATH_BYTES_MAX} bytes");
                    Outcome::Value(format!("Fanfare\\Sidecar::ask(): Argument #{position} (${name}) {rest}"))
                })
        };
        let (method, target) = (text(&method, 1, "method")?, text(&path, 2, "path")?);
        let body = body.bytes("ask", 3, "body")?.unwrap_or_default();
        let Ok(mut attachment) = self.attachment.try_borrow_mut() else {
            return Err(Outcome::Unavailable("another call of this process is under way".to_owned()).into());
        };
        let Answer { status, body } = attachment.ask(Question { method: &method, target: &target, body })?;
        let mut pair = ZendHashTable::with_capacity(2);
        pair.push(i64::from(status))?;
        pair.push(String::from_utf8_lossy(&body).as_ref())?;
        Ok(pair)
    }

    /// The transport of this process's attachment: `ring`, `socket`, or `none` while there is none.
    pub fn transport(&self) -> &'static str {
        self.attachment.try_borrow().map_or("none", |attachment| attachment.transport_name())
    }
}

fn socket_path(path: Vec<u8>) -> Result<String, Outcome> {
    let refuse = |found: String| {
        Outcome::Value(format!(
            "Fanfare\\Sidecar::__construct(): Argument #1 ($socket) must be the path of a Unix socket of at most \
             {SOCKET_PATH_BYTES_MAX} bytes, {found}"
        ))
    };
    if path.len() > SOCKET_PATH_BYTES_MAX {
        return Err(refuse(format!(
            "{} bytes given; choose a shorter one, for example below /run",
            path.len()
        )));
    }
    if path.contains(&0) {
        return Err(refuse("a path with a NUL byte given".to_owned()));
    }
    String::from_utf8(path).map_err(|_| refuse("a path that is not UTF-8 given".to_owned()))
}

/// Refuses here what the server would have to drop later, when nobody is there to be told.
fn check_text(
    channels: &Channels<'_>,
    event: &[u8],
    data: &[u8],
    except: Option<&[u8]>,
) -> Result<(), Outcome> {
    use fanfare_wire::names;
    let refuse = |position: u8, name: &str, rest: String| {
        Outcome::Value(format!("Fanfare\\Sidecar::broadcast(): Argument #{position} (${name}) {rest}"))
    };
    if let Some(channel) = channels.clone().find(|channel| !names::is_channel(channel)) {
        let rest = format!(
            "must name channels as Pusher allows ({}), {:?} given",
            names::CHANNEL_RULE,
            lossy(channel)
        );
        return Err(refuse(1, "channels", rest));
    }
    if std::str::from_utf8(event).is_err() {
        return Err(refuse(2, "event", format!("must be UTF-8 text, {:?} given", lossy(event))));
    }
    if simdutf8::basic::from_utf8(data).is_err() {
        let rest =
            "must be UTF-8 text, since browsers take no other; encode binary data, for example as base64";
        return Err(refuse(3, "data", rest.to_owned()));
    }
    if let Some(except) = except.filter(|except| !names::is_socket_id(except)) {
        let rest = format!(
            "must be a socket id such as 1234.5678 (what Echo.socketId() gives once it is connected), {:?} given",
            lossy(except)
        );
        return Err(refuse(4, "except", rest));
    }
    Ok(())
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
