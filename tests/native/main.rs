//! From PHP into real clients, in every kind of PHP process.

mod delivery;
mod laravel;
mod processes;
mod strangers;
