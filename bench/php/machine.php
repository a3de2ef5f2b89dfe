<?php

declare(strict_types=1);

/*
 * What the scripts run on, as the page says it. Assumes that the autoloader was prepended.
 */

use Composer\InstalledVersions;
use Fanfare\Bench\Task;
use Illuminate\Foundation\Application;

$opcache = function_exists('opcache_get_status') ? opcache_get_status(false) : false;

Task::fromStandardInput()->answer([
    'date' => date('Y-m-d H:i T'),
    'php' => PHP_VERSION.(PHP_ZTS ? ' ZTS' : ' NTS').(PHP_DEBUG ? ' debug' : ''),
    'opcache' => is_array($opcache) && $opcache['opcache_enabled'] ? 'on' : 'off',
    'jit' => is_array($opcache) && ($opcache['jit']['on'] ?? false) ? 'on' : 'off',
    'laravel' => Application::VERSION,
    'guzzle' => (string) InstalledVersions::getPrettyVersion('guzzlehttp/guzzle'),
    'extension' => (string) phpversion('fanfare'),
]);
