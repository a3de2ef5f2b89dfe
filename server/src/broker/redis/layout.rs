//! Which server has what: found out anew whenever something is not as it was.
//!
//! Owns asking: nobody, for a single server; Sentinels, for the primary that they agree on; any server of a cluster,
//! for the slots of all of them. Leaves to others whether those servers can be reached.

use std::ops::RangeInclusive;

use redis::Value;

use super::link::{LinkError, Way, ask, text};
use crate::config::Redis;
use crate::config::redis::{Place, Topology};

/// Primaries and the slots of each; one slot where there is no cluster.
pub(super) type Layout = Vec<(Place, Vec<RangeInclusive<usize>>)>;

/// Finds out. `known` are servers that were there lately: they are asked before those that are configured.
pub(super) async fn find(redis: &Redis, way: &Way, known: &[Place]) -> Result<Layout, LinkError> {
    match &redis.topology {
        Topology::Standalone => {
            Ok(redis.places.iter().take(1).map(|place| (place.clone(), vec![0..=0])).collect())
        }
        Topology::Sentinel { .. } => Ok(vec![(primary(redis, way).await?, vec![0..=0])]),
        Topology::Cluster => {
            let mut last = None;
            let configured = redis.places.iter().filter(|place| !known.contains(place));
            for place in known.iter().chain(configured) {
                match slots(redis, way, place).await {
                    Ok(layout) => return Ok(layout),
                    Err(error) => last = Some(error),
                }
            }
            Err(last
                .unwrap_or_else(|| LinkError::Nobody("no server of the cluster is configured".to_owned())))
        }
    }
}

/// The primary, as the first Sentinel says that answers.
pub(super) async fn primary(redis: &Redis, way: &Way) -> Result<Place, LinkError> {
    let Topology::Sentinel { master, credentials } = &redis.topology else {
        return Err(LinkError::Nobody("no Sentinel is configured".to_owned()));
    };
    let mut last = None;
    for place in &redis.places {
        let asked = async {
            let mut sentinel = way.connect(place, credentials, None).await?;
            let command =
                redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master.as_str()).to_owned();
            let answer = ask(place, &mut sentinel.connection, &command).await?;
            match &answer {
                Value::Array(parts) => match parts.as_slice() {
                    [host, port] => text(host).zip(text(port).and_then(|port| port.parse().ok())),
                    _ => None,
                }
                .map(|(host, port)| Place::Tcp(host, port))
                .ok_or_else(|| LinkError::Answer { place: place.clone(), expected: "an address" }),
                _ => Err(LinkError::Nobody(format!(
                    "expected the Sentinel at {place} to know a primary called {master}, but it does not; correct redis.sentinel.master"
                ))),
            }
        };
        match asked.await {
            Ok(primary) => return Ok(primary),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| LinkError::Nobody("no Sentinel is configured".to_owned())))
}

/// What one server of a cluster says (CLUSTER SLOTS).
async fn slots(redis: &Redis, way: &Way, place: &Place) -> Result<Layout, LinkError> {
    let mut connection = way.connect(place, &redis.credentials, None).await?;
    let command = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
    let answer = ask(place, &mut connection.connection, &command).await?;
    read_slots(&answer, place)
        .ok_or_else(|| LinkError::Answer { place: place.clone(), expected: "slots and their servers" })
}

/// Each entry: first slot, last slot, the primary, its replicas; each server: its address, its port, and more.
fn read_slots(answer: &Value, asked: &Place) -> Option<Layout> {
    let Value::Array(entries) = answer else { return None };
    let mut layout = Layout::new();
    for entry in entries {
        let Value::Array(entry) = entry else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = entry.as_slice() else {
            return None;
        };
        let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
        // A server that does not know its own name means: the one that you have asked.
        let host = match (text(host).filter(|host| !host.is_empty()), asked) {
            (Some(host), _) => host,
            (None, Place::Tcp(host, _)) => host.clone(),
            (None, Place::Unix(_)) => return None,
        };
        let place = Place::Tcp(host, u16::try_from(*port).ok()?);
        let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
        if first > last || last >= super::keys::SLOTS {
            return None;
        }
        match layout.iter_mut().find(|(known, _)| *known == place) {
            Some((_, ranges)) => ranges.push(first..=last),
            None => layout.push((place, vec![first..=last])),
        }
    }
    Some(layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_read_and_nonsense_is_not() {
        let server = |host: &str, port| {
            Value::Array(vec![
                Value::BulkString(host.into()),
                Value::Int(port),
                Value::BulkString("id".into()),
                Value::Array(vec![]),
            ])
        };
        let entry =
            |first, last, of| Value::Array(vec![Value::Int(first), Value::Int(last), of, server("r", 9)]);
        let asked = Place::Tcp("asked".into(), 1);
        let read = |entries| read_slots(&Value::Array(entries), &asked);
        let layout = read(vec![
            entry(0, 9, server("a", 1)),
            entry(10, 16_383, server("", 2)),
            entry(12, 12, server("a", 1)),
        ]);
        let (a, asked) = (Place::Tcp("a".into(), 1), Place::Tcp("asked".into(), 2));
        assert_eq!(layout, Some(vec![(a, vec![0..=9, 12..=12]), (asked, vec![10..=16_383])]));
        assert_eq!(read(vec![entry(0, 16_384, server("a", 1))]), None);
        assert_eq!(read(vec![entry(9, 1, server("a", 1))]), None);
        assert_eq!(read(vec![entry(0, 1, server("a", 70_000))]), None);
        assert_eq!(read(vec![Value::Nil]), None);
        assert_eq!(read_slots(&Value::Nil, &Place::Unix("/x".into())), None);
    }
}
