<?php

declare(strict_types=1);

namespace Fanfare\Bench;

use Illuminate\Contracts\Console\Kernel;
use Illuminate\Foundation\Application;

/**
 * A Laravel application without anything of its own, booted as artisan boots one, so that packages are
 * discovered and configured the way they are everywhere else.
 */
final class LaravelApplication
{
    /** The directory holds vendor/, and what the framework writes down for its next start. */
    public static function boot(Task $task): Application
    {
        $directory = $task->text('application');

        foreach (['bootstrap/cache', 'storage/framework/views', 'storage/logs'] as $needed) {
            is_dir("{$directory}/{$needed}") || mkdir("{$directory}/{$needed}", recursive: true);
        }

        $app = Application::configure(basePath: $directory)->create();
        $app->make(Kernel::class)->bootstrap();

        $app->make('config')->set([
            'fanfare.socket' => $task->text('socket'),
            'fanfare.apps' => [['id' => $task->text('app'), 'key' => $task->text('key'), 'secret' => $task->text('secret')]],
            'fanfare.publish.transport' => 'ring',
        ]);

        return $app;
    }
}
