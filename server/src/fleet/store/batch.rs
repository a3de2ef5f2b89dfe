//! Many commands in one round trip.
//!
//! Owns that a script which a server does not have is given to it, once, and that calls about one key are run in their
//! order or not at all. Leaves to the connection which server has which key: what one server gets it does in order, and
//! those of several servers stand in no order at all. So what has to be there before something else is sent, and
//! answered, in a batch before.

use std::collections::HashSet;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Script, Value, cmd};

/// A script about one key.
pub(super) struct Lua {
    code: &'static str,
    script: Script,
}

/// A call of a script.
pub(super) struct Call {
    key: String,
    command: Cmd,
}

impl Call {
    /// One more argument.
    pub(super) fn arg(&mut self, argument: impl redis::ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }
}

impl Lua {
    pub(super) fn new(code: &'static str) -> Self {
        Self { code, script: Script::new(code) }
    }

    /// A call about `key`, whose arguments follow.
    pub(super) fn of(&self, key: String) -> Call {
        let mut command = cmd("EVALSHA");
        command.arg(self.script.get_hash()).arg(1).arg(&key);
        Call { key, command }
    }
}

/// Sends commands; the answers are as many, errors of Redis among them.
pub(super) async fn send<C: ConnectionLike>(
    connection: &mut C,
    commands: impl IntoIterator<Item = Cmd>,
) -> RedisResult<Vec<Value>> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    let len = pipeline.len();
    if len == 0 {
        return Ok(Vec::new());
    }
    let answers = connection.req_packed_commands(&pipeline, 0, len).await?;
    if answers.len() == len {
        return Ok(answers);
    }
    Err(RedisError::from((
        ErrorKind::Client,
        "expected as many answers as commands, but found another number",
    )))
}

/// Calls a script many times; the answers are as many, errors of Redis among them.
pub(super) async fn call<C: ConnectionLike>(
    connection: &mut C,
    lua: &Lua,
    calls: &[Call],
) -> RedisResult<Vec<Value>> {
    let mut answers = send(connection, calls.iter().map(|call| call.command.clone())).await?;
    let lacks = |answer: &Value| matches!(answer, Value::ServerError(error) if error.code() == "NOSCRIPT");
    let (again, done): (Vec<usize>, Vec<usize>) = (0..calls.len()).partition(|&at| lacks(&answers[at]));
    if again.is_empty() {
        return Ok(answers);
    }
    let done: HashSet<&str> = done.into_iter().map(|at| calls[at].key.as_str()).collect();
    if again.iter().any(|&at| done.contains(calls[at].key.as_str())) {
        // It came to the server, or went, in the middle.
        return Err(RedisError::from((ErrorKind::Client, "expected a script to stay, but found it gone")));
    }
    cmd("SCRIPT").arg("LOAD").arg(lua.code).exec_async(connection).await?;
    let commands = again.iter().map(|&at| calls[at].command.clone());
    for (at, answer) in again.iter().zip(send(connection, commands).await?) {
        answers[*at] = answer;
    }
    Ok(answers)
}

/// Reads an answer, which may be an error.
pub(super) fn read<T: redis::FromRedisValue>(answer: Value) -> RedisResult<T> {
    Ok(T::from_redis_value(answer.extract_error()?)?)
}
