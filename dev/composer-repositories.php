<?php

declare(strict_types=1);

/*
 * Presents the root's Debian packages to Composer as the packages that an ordinary composer.json asks for.
 *
 * Owns: COMPOSER_HOME/config.json of the root, and the directory that stands for phpunit/phpunit.
 * Leaves to others: everything in the packages; each is Debian's, loaded by its own autoload file.
 * Assumes: it runs once, inside the root, while dev/setup builds it. `composer install` then needs no network.
 */

const COMPOSER_HOME = '/etc/fanfare/composer';
const PHPUNIT = '/etc/fanfare/phpunit';

/** The upstream part of a Debian version: 13.31.0 of 1:13.31.0+dfsg-1. */
function installedVersion(string $debianPackage): string
{
    $version = exec('dpkg-query --show --showformat=\'${Version}\' '.escapeshellarg($debianPackage), $_, $status);
    if ($status !== 0 || preg_match('/^(?:\d+:)?(\d+(?:\.\d+)*)/', (string) $version, $matches) !== 1) {
        fwrite(STDERR, "expected the Debian package {$debianPackage} with a version in digits, found '{$version}'\n");
        exit(1);
    }

    return $matches[1];
}

/**
 * @param  array<string, mixed>  $more
 * @return array{type: string, package: array<string, mixed>}
 */
function package(string $name, string $debianPackage, string $directory, string $autoload, array $more = []): array
{
    if (! is_file("{$directory}/{$autoload}")) {
        fwrite(STDERR, "expected {$directory}/{$autoload} from {$debianPackage}, found no such file\n");
        exit(1);
    }

    return ['type' => 'package', 'package' => [
        'name' => $name,
        'version' => installedVersion($debianPackage),
        'type' => 'library',
        // A link in vendor/, so that an install copies nothing.
        'dist' => ['type' => 'path', 'url' => $directory],
        'transport-options' => ['symlink' => true],
        'autoload' => ['files' => [$autoload]],
    ] + $more];
}

// A package may ask for a part of the framework instead of the whole, as it may with the original.
$parts = [];
foreach (glob('/usr/share/php/Illuminate/*/autoload.php') ?: [] as $file) {
    $part = strtolower(preg_replace('/(?<!^)[A-Z]/', '-$0', basename(dirname($file))));
    $parts["illuminate/{$part}"] = 'self.version';
}

foreach ([COMPOSER_HOME, PHPUNIT] as $directory) {
    is_dir($directory) || mkdir($directory, recursive: true);
}
// Composer takes a package's commands only from inside the package; Debian has this one elsewhere.
file_put_contents(PHPUNIT.'/autoload.php', "<?php\n\nrequire '/usr/share/php/PHPUnit/Autoload.php';\n");
copy('/usr/bin/phpunit', PHPUNIT.'/phpunit');
chmod(PHPUNIT.'/phpunit', 0755);

$repositories = [
    ['packagist' => false],
    package('laravel/framework', 'php-laravel-framework', '/usr/share/php/Illuminate', 'autoload.php', ['replace' => $parts]),
    package('guzzlehttp/guzzle', 'php-guzzlehttp-guzzle', '/usr/share/php/GuzzleHttp', 'autoload.php'),
    package('psr/log', 'php-psr-log', '/usr/share/php/Psr/Log', 'autoload.php'),
    package('symfony/process', 'php-symfony-process', '/usr/share/php/Symfony/Component/Process', 'autoload.php'),
    package('phpunit/phpunit', 'phpunit', PHPUNIT, 'autoload.php', ['bin' => ['phpunit']]),
];

file_put_contents(
    COMPOSER_HOME.'/config.json',
    json_encode(['repositories' => $repositories], JSON_THROW_ON_ERROR | JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES)."\n",
);
