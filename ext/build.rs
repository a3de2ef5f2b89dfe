//! Refuses a PHP that this extension is not written for, before ext-php-rs refuses it in words of its own.

use std::process::Command;

/// PHP 8.3: `src/zend.rs` reads arrays as they are since 8.2, and the Laravel package needs 8.3.
const PHP_VERSION_MIN: u32 = 80_300;

fn main() {
    println!("cargo::rerun-if-env-changed=PHP_CONFIG");
    let php_config = std::env::var("PHP_CONFIG").unwrap_or_else(|_| "php-config".to_owned());
    let output = Command::new(&php_config).arg("--vernum").output();
    let found = match &output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    if !found.parse::<u32>().is_ok_and(|version| version >= PHP_VERSION_MIN) {
        println!(
            "cargo::error=expected PHP 8.3 or later with headers ({php_config} --vernum), but found: {found}"
        );
    }
}
