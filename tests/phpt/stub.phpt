--TEST--
stubs/fanfare.stub.php says what the extension has: classes, parents, methods, types, defaults, attributes
--EXTENSIONS--
fanfare
--FILE--
<?php
$stub = file_get_contents(dirname(__DIR__, 2).'/stubs/fanfare.stub.php');
eval(substr(str_replace('namespace Fanfare;', 'namespace Stub;', $stub), strlen('<?php')));

function describe(ReflectionClass $class): array
{
    $bare = fn (string $name) => preg_replace('/^(Stub|Fanfare)\\\\/', '', $name);
    $methods = [];

    foreach ($class->getMethods() as $method) {
        if (! $method->getDeclaringClass()->isInternal() || $method->class === $class->name) {
            $parameters = array_map(fn (ReflectionParameter $parameter) => [
                $parameter->getName(),
                (string) $parameter->getType(),
                $parameter->isOptional() ? var_export($parameter->getDefaultValue(), true) : 'required',
                array_map(fn ($attribute) => strtolower($attribute->getName()), $parameter->getAttributes()),
            ], $method->getParameters());
            $modifiers = implode(' ', Reflection::getModifierNames($method->getModifiers()));
            $methods[$method->name] = [$modifiers, $parameters, (string) $method->getReturnType()];
        }
    }

    ksort($methods);
    $parent = $class->getParentClass();

    return [$class->isFinal(), $class->isAbstract(), $parent ? $bare($parent->name) : null, $methods];
}

$extension = array_keys((new ReflectionExtension('fanfare'))->getClasses());
$stubbed = array_filter(get_declared_classes(), fn ($name) => str_starts_with($name, 'Stub\\'));
$difference = fn (array $a, array $b) => implode(', ', array_diff($a, $b)) ?: 'none';
$stubbed = array_map(fn ($name) => 'Fanfare\\'.substr($name, 5), $stubbed);
echo 'only in the extension: ', $difference($extension, $stubbed), "\n";
echo 'only in the stub: ', $difference($stubbed, $extension), "\n";

foreach ($extension as $name) {
    $real = describe(new ReflectionClass($name));
    $said = describe(new ReflectionClass('Stub\\'.substr($name, 8)));
    echo $name, ': ', $real === $said ? 'same' : "the extension has\n".json_encode($real)."\nthe stub says\n".json_encode($said), "\n";
}
?>
--EXPECT--
only in the extension: none
only in the stub: none
Fanfare\Exception: same
Fanfare\Unavailable: same
Fanfare\Unanswered: same
Fanfare\Full: same
Fanfare\TooLarge: same
Fanfare\Rejected: same
Fanfare\Sidecar: same
