--TEST--
The exceptions are ordinary ones: constructed, extended, thrown and caught in PHP, with file and line
--EXTENSIONS--
fanfare
--FILE--
<?php
class Mine extends Fanfare\Full {}

foreach (['Unavailable', 'Unanswered', 'Full', 'TooLarge', 'Rejected'] as $name) {
    echo implode(' < ', [$name, ...class_parents("Fanfare\\{$name}")]), "\n";
}

try {
    throw new Mine('text', 7, new LogicException('before'));
} catch (Fanfare\Exception $exception) {
    echo $exception::class, ' ', $exception->getMessage(), ' ', $exception->getCode(), ' ';
    echo $exception->getPrevious()->getMessage(), ' ', basename($exception->getFile()), ' ', $exception->getLine(), "\n";
}

try {
    (new Fanfare\Sidecar('/nonexistent', 'k', 's'))->broadcast('c', 'e', 'd');
} catch (Fanfare\Unavailable $exception) {
    echo basename($exception->getFile()), ' ', $exception->getLine(), ' ', count($exception->getTrace()), "\n";
}
?>
--EXPECT--
Unavailable < Fanfare\Exception < RuntimeException < Exception
Unanswered < Fanfare\Exception < RuntimeException < Exception
Full < Fanfare\Exception < RuntimeException < Exception
TooLarge < Fanfare\Exception < RuntimeException < Exception
Rejected < Fanfare\Exception < RuntimeException < Exception
Mine text 7 before exceptions.php 9
exceptions.php 16 1
