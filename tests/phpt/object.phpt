--TEST--
A Sidecar cannot be copied, serialised, extended or made without its constructor
--EXTENSIONS--
fanfare
--FILE--
<?php
$sidecar = new Fanfare\Sidecar('/nonexistent', 'k', 's');
$attempts = [
    fn () => clone $sidecar,
    fn () => serialize($sidecar),
    fn () => $sidecar->undefined = 1,
    fn () => (new ReflectionClass($sidecar))->newInstanceWithoutConstructor()->broadcast('c', 'e', 'd'),
    fn () => var_dump($sidecar->transport()),
];

foreach ($attempts as $attempt) {
    try {
        $attempt();
        echo "done\n";
    } catch (Throwable $error) {
        echo $error::class, ': ', $error->getMessage(), "\n";
    }
}

var_dump((new ReflectionClass($sidecar))->isFinal());
?>
--EXPECT--
Error: Trying to clone an uncloneable object of class Fanfare\Sidecar
Exception: Serialization of 'Fanfare\Sidecar' is not allowed
Error: Cannot create dynamic property Fanfare\Sidecar::$undefined
ReflectionException: Class Fanfare\Sidecar is an internal class marked as final that cannot be instantiated without invoking its constructor
string(4) "none"
done
bool(true)
