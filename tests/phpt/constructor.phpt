--TEST--
The constructor reports every mistake, connects nothing, and keeps the secret out of traces
--EXTENSIONS--
fanfare
--INI--
zend.exception_ignore_args=0
--FILE--
<?php
$attempts = [
    ['', 'k', 's'],
    ['/x', '', 's'],
    ['/x', 'k', ''],
    ['/x', 'k', 5],
    ['/x', 'k', 's', null],
    [str_repeat('/', 108), 'k', 's'],
    ["/a\0b", 'k', 's'],
    ['/x', 'k', 's', ['transport' => 'tcp', 'ring_bytes' => 5000, 'publish_timeout_ms' => -1, 'exit_timeout' => 5, 7 => 1]],
];

foreach ($attempts as $arguments) {
    try {
        new Fanfare\Sidecar(...$arguments);
        echo "made\n";
    } catch (Throwable $error) {
        echo $error::class, ': ', $error->getMessage(), "\n";
    }
}

try {
    new Fanfare\Sidecar('/x', 'k', 'hunter2', ['x' => 1]);
} catch (ValueError $error) {
    var_dump(str_contains(print_r($error->getTrace(), true), 'hunter2'));
}

$sidecar = new Fanfare\Sidecar('/nonexistent', 'k', 's', ['ring_bytes' => 65536, 'transport' => 'ring']);
var_dump($sidecar->transport());
?>
--EXPECT--
ValueError: Fanfare\Sidecar::__construct(): Argument #1 ($socket) must not be empty
ValueError: Fanfare\Sidecar::__construct(): Argument #2 ($key) must not be empty
ValueError: Fanfare\Sidecar::__construct(): Argument #3 ($secret) must not be empty
TypeError: Fanfare\Sidecar::__construct(): Argument #3 ($secret) must be of type string, int given
TypeError: Fanfare\Sidecar::__construct(): Argument #4 ($options) must be of type array, null given
ValueError: Fanfare\Sidecar::__construct(): Argument #1 ($socket) must be the path of a Unix socket of at most 107 bytes, 108 bytes given; choose a shorter one, for example below /run
ValueError: Fanfare\Sidecar::__construct(): Argument #1 ($socket) must be the path of a Unix socket of at most 107 bytes, a path with a NUL byte given
ValueError: Fanfare\Sidecar::__construct(): Argument #4 ($options): transport: expected 'auto', 'ring' or 'socket', but found "tcp"; ring_bytes: expected a power of two from 4096 to 268435456, but found 5000; publish_timeout_ms: expected milliseconds as an int from 0 to 60000, but found -1; expected transport, ring_bytes, publish_timeout_ms, connect_timeout_ms, ask_timeout_ms or exit_timeout_ms, but found "exit_timeout"; expected names as keys, but found 7
bool(false)
string(4) "none"
