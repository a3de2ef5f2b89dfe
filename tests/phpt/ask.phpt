--TEST--
Wrong arguments of ask() are refused in PHP's words, and a server that is not there is named
--EXTENSIONS--
fanfare
--FILE--
<?php
$sidecar = new Fanfare\Sidecar('/nonexistent/fanfare.sock', 'key', 'secret', ['ask_timeout_ms' => 50]);
$attempts = [
    [5, '/channels'],
    ["\xff", '/channels'],
    ['GET', []],
    ['GET', str_repeat('x', 8193)],
    ['GET', '/channels', 5],
    ['GET', '/channels'],
    ['POST', '/events', '{}'],
];

foreach ($attempts as $arguments) {
    try {
        $sidecar->ask(...$arguments);
        echo "answered\n";
    } catch (Throwable $error) {
        echo $error::class, ': ', $error->getMessage(), "\n";
    }
}

try {
    new Fanfare\Sidecar('/nonexistent', 'k', 's', ['ask_timeout_ms' => 0]);
} catch (ValueError $error) {
    echo $error->getMessage(), "\n";
}
?>
--EXPECT--
TypeError: Fanfare\Sidecar::ask(): Argument #1 ($method) must be of type string, int given
ValueError: Fanfare\Sidecar::ask(): Argument #1 ($method) must be UTF-8 text of at most 8192 bytes
TypeError: Fanfare\Sidecar::ask(): Argument #2 ($path) must be of type string, array given
ValueError: Fanfare\Sidecar::ask(): Argument #2 ($path) must be UTF-8 text of at most 8192 bytes
TypeError: Fanfare\Sidecar::ask(): Argument #3 ($body) must be of type ?string, int given
Fanfare\Unavailable: expected the Fanfare server at /nonexistent/fanfare.sock, but found no such socket; start the server (php artisan fanfare:start) or correct the path
Fanfare\Unavailable: expected the Fanfare server at /nonexistent/fanfare.sock, but found no such socket; start the server (php artisan fanfare:start) or correct the path
Fanfare\Sidecar::__construct(): Argument #4 ($options): ask_timeout_ms: expected milliseconds as an int from 1 to 60000, but found 0
