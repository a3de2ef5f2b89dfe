<?php

declare(strict_types=1);

// The front controller of a small Laravel application with sessions, channels and users: what an application that
// broadcasts to Echo has, and nothing else. PHP's own web server runs it (laravel.test.mjs). SCRATCH names the
// directory with its .env and storage; the packages are those of examples/chat.

use Fanfare\Laravel\FanfareServiceProvider;
use Illuminate\Auth\AuthManager;
use Illuminate\Foundation\Application;
use Illuminate\Foundation\Configuration\Exceptions;
use Illuminate\Foundation\Configuration\Middleware;
use Illuminate\Http\Request;

require __DIR__.'/../../../examples/chat/vendor/autoload.php';
require __DIR__.'/people.php';
require __DIR__.'/messages.php';

$app = Application::configure(basePath: (string) getenv('SCRATCH'))
    ->withProviders([FanfareServiceProvider::class], withBootstrapProviders: false)
    ->withRouting(web: __DIR__.'/web.php', channels: __DIR__.'/channels.php', health: '/up')
    ->withMiddleware(function (Middleware $middleware): void {})
    ->withExceptions(function (Exceptions $exceptions): void {})
    ->booting(function (Application $app): void {
        $app->make('config')->set('auth.providers.users', ['driver' => 'people']);
        $app->make(AuthManager::class)->provider('people', fn (): People => new People);
    })
    ->create();

$app->handleRequest(Request::capture());
