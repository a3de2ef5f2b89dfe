//! What happens when something dies, or stands still, at the worst moment (docs/promises.md).

mod php_dies;
mod server_dies;
mod server_stops;
