//! From a record's bytes to a publication that is on its way.
//!
//! Owns the difference between a record that is not sound, which ends the attachment that it came over, and a
//! publication that is merely not acceptable, which is dropped, counted and logged.

use std::time::Instant;

use fanfare_wire::attach::RefusalCode;
use fanfare_wire::record;
use tracing::warn;

use super::{Attachment, Refusal};
use crate::hub::Round;
use crate::publication::Publication;

/// Publishes one record.
///
/// # Errors
/// The bytes are not a record: whoever wrote them is broken.
pub(super) fn take(attachment: &Attachment, bytes: &[u8], round: &mut Round) -> Result<(), Refusal> {
    let node = &attachment.shard.node;
    let record =
        record::decode(bytes).map_err(|error| Refusal::new(RefusalCode::Protocol, error.to_string()))?;
    match Publication::from_record(&record, &attachment.limits) {
        Ok(publication) => {
            node.metrics.publications_total.increment();
            node.publish(&attachment.app, &publication, round);
        }
        Err(error) => {
            node.metrics.publications_rejected_total.increment();
            if let Some(left_out) = node.rejections.permit(Instant::now()) {
                let app = &attachment.app.settings().app.id;
                let event = String::from_utf8_lossy(record.event);
                warn!(app, %event, %error, left_out, "a publication is dropped");
            }
        }
    }
    Ok(())
}
