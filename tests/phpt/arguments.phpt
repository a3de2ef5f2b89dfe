--TEST--
Wrong arguments of broadcast() are refused in PHP's words, before anything is sent
--EXTENSIONS--
fanfare
--FILE--
<?php
$sidecar = new Fanfare\Sidecar('/nonexistent/fanfare.sock', 'key', 'secret');
$attempts = [
    [5, 'e', 'd'],
    [['a', 5], 'e', 'd'],
    [[], 'e', 'd'],
    ['', 'e', 'd'],
    ['a b', 'e', 'd'],
    [["\xff" => 'a', 'x' => "b\0"], 'e', 'd'],
    [array_fill(0, 101, 'c'), 'e', 'd'],
    [str_repeat('c', 201), 'e', 'd'],
    ['c', '', 'd'],
    ['c', str_repeat('e', 201), 'd'],
    ['c', "\xff", 'd'],
    ['c', 5, 'd'],
    ['c', 'e', "\xff"],
    ['c', 'e', []],
    ['c', 'e', 'd', 'x'],
    ['c', 'e', 'd', 5],
    ['c', 'e', str_repeat('d', 17 << 20)],
];

foreach ($attempts as $arguments) {
    try {
        $sidecar->broadcast(...$arguments);
        echo "accepted\n";
    } catch (Throwable $error) {
        echo $error::class, ': ', $error->getMessage(), "\n";
    }
}
?>
--EXPECT--
TypeError: Fanfare\Sidecar::broadcast(): Argument #1 ($channels) must be of type array|string, int given
TypeError: Fanfare\Sidecar::broadcast(): Argument #1 ($channels) must be of type array of strings, array with int given
ValueError: Fanfare\Sidecar::broadcast(): expected at least one channel, but found none
ValueError: Fanfare\Sidecar::broadcast(): Argument #1 ($channels) must name channels as Pusher allows (1 to 200 of A-Z a-z 0-9 _ - = @ , . ; and # for #server-to-user-…), "" given
ValueError: Fanfare\Sidecar::broadcast(): Argument #1 ($channels) must name channels as Pusher allows (1 to 200 of A-Z a-z 0-9 _ - = @ , . ; and # for #server-to-user-…), "a b" given
ValueError: Fanfare\Sidecar::broadcast(): Argument #1 ($channels) must name channels as Pusher allows (1 to 200 of A-Z a-z 0-9 _ - = @ , . ; and # for #server-to-user-…), "b\0" given
ValueError: Fanfare\Sidecar::broadcast(): expected at most 100 channels, but found 101; broadcast in several calls
ValueError: Fanfare\Sidecar::broadcast(): Argument #1 ($channels) must name channels as Pusher allows (1 to 200 of A-Z a-z 0-9 _ - = @ , . ; and # for #server-to-user-…), "ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc" given
ValueError: Fanfare\Sidecar::broadcast(): expected an event name of 1 to 200 bytes, but found an empty one
ValueError: Fanfare\Sidecar::broadcast(): expected an event name of 1 to 200 bytes, but found 201 bytes
ValueError: Fanfare\Sidecar::broadcast(): Argument #2 ($event) must be UTF-8 text, "�" given
TypeError: Fanfare\Sidecar::broadcast(): Argument #2 ($event) must be of type string, int given
ValueError: Fanfare\Sidecar::broadcast(): Argument #3 ($data) must be UTF-8 text, since browsers take no other; encode binary data, for example as base64
TypeError: Fanfare\Sidecar::broadcast(): Argument #3 ($data) must be of type string, array given
ValueError: Fanfare\Sidecar::broadcast(): Argument #4 ($except) must be a socket id such as 1234.5678 (what Echo.socketId() gives once it is connected), "x" given
TypeError: Fanfare\Sidecar::broadcast(): Argument #4 ($except) must be of type ?string, int given
Fanfare\TooLarge: Fanfare\Sidecar::broadcast(): expected a publication of at most 16777216 bytes, but found 17825808 bytes
