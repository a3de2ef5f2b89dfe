<?php

declare(strict_types=1);

use App\Events\LetterSent;
use App\Events\OrderShipped;
use App\Notifications\InvoicePaid;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Auth;
use Illuminate\Support\Facades\Broadcast;
use Illuminate\Support\Facades\Route;

Route::get('/login/{id}', function (int $id) {
    Auth::loginUsingId($id);

    return redirect('/');
});

Route::get('/', function () {
    $echo = json_encode([
        'broadcaster' => 'reverb',
        'key' => config('fanfare.apps.0.key'),
        'wsHost' => '127.0.0.1',
        'wsPort' => (int) getenv('WEBSOCKET_PORT'),
        'forceTLS' => false,
        'enabledTransports' => ['ws', 'wss'],
    ], JSON_THROW_ON_ERROR);
    $token = csrf_token();

    return <<<HTML
        <!doctype html>
        <meta charset="utf-8">
        <meta name="csrf-token" content="{$token}">
        <link rel="icon" href="data:,">
        <script src="/vendor/pusher.js"></script>
        <script src="/vendor/echo.js"></script>
        <script type="module">
            import { Journal } from '/vendor/journal.mjs';

            window.journal = new Journal('the page');
            window.note = (what) => (value) => journal.note(what, value);
            window.echo = new (Echo.default ?? Echo)({$echo});
        </script>
        HTML;
});

Route::get('/vendor/{name}', function (string $name) {
    $packages = __DIR__.'/../../node_modules/';
    $file = [
        'pusher.js' => $packages.'pusher-js/dist/web/pusher-with-encryption.min.js',
        'echo.js' => $packages.'laravel-echo/dist/echo.iife.js',
        'journal.mjs' => __DIR__.'/../harness/journal.mjs',
    ][$name] ?? abort(404);

    return response()->file($file, ['Content-Type' => 'text/javascript; charset=utf-8']);
});

// Echo sends no request of the page's own, so the page sends X-Socket-ID with what is to go to others.
Route::post('/ship', function (Request $request) {
    broadcast(new OrderShipped($request->integer('order')))->toOthers();

    return [];
});

Route::post('/write', function (Request $request) {
    broadcast(new LetterSent($request->string('text')->value()));

    return [];
});

Route::post('/pay', function (Request $request) {
    $request->user()->notify(new InvoicePaid(42));

    return [];
});

Route::post('/remind', function (Request $request) {
    Broadcast::on("#server-to-user-{$request->user()->id}")->as('reminder')->with(['of' => $request->user()->name])->sendNow();

    return [];
});
