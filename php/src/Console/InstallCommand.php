<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

use Fanfare\Laravel\Config\RedisConfig;
use Fanfare\Laravel\Exceptions\NotInstallable;
use Fanfare\Laravel\Install\Application;
use Fanfare\Laravel\Install\Change;
use Fanfare\Laravel\Install\ChannelRoutes;
use Fanfare\Laravel\Install\Diff;
use Fanfare\Laravel\Install\EchoSetup;
use Fanfare\Laravel\Install\EnvFile;
use Fanfare\Laravel\Install\Parts;
use Fanfare\Laravel\Install\Plan;
use Fanfare\Laravel\Install\ReverbVariables;
use Fanfare\Laravel\Server\BinaryLocator;
use Illuminate\Console\Command;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Foundation\Application as Laravel;
use Illuminate\Foundation\Console\BroadcastingInstallCommand;
use ReflectionClass;
use RuntimeException;
use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Input\InputOption;
use Symfony\Component\Console\Output\OutputInterface;
use Symfony\Component\Process\Process;

/**
 * `php artisan fanfare:install`: sets an application up. Shows what it would change, asks, and writes.
 * Exit code: 0 when the application is set up (which it may have been before), 1 when something that is
 * needed was declined, missing, or could not be written, 64 for a mistake in an option.
 */
#[AsCommand(name: 'fanfare:install')]
final class InstallCommand extends Command
{
    private const int MISTAKEN_OPTION = 64;

    protected $signature = 'fanfare:install
        {--from-reverb : Keep the REVERB_* variables as they are, and use them}
        {--force : Replace what you wrote too (resources/js/echo.js, a key of Reverb or Pusher in VITE_REVERB_APP_KEY), and do not ask}
        {--build : Build extension and binary for this PHP, where the package is a checkout}
        {--node : Install laravel-echo and pusher-js with the package manager of this application}
        {--without-echo : Leave resources/js and the VITE_* variables alone}';

    protected $description = 'Set this application up to broadcast through Fanfare';

    protected $help = <<<'HELP'
        Writes keys and BROADCAST_CONNECTION into .env, publishes config/fanfare.php, makes routes/channels.php and has bootstrap/app.php load it, and sets up
        Laravel Echo (or configureEcho() of React and Vue) as Laravel's own installer does. What is there already stays: a second run changes nothing.

        Every change is shown as a diff before it is made, and asked for. With <info>--no-interaction</info> nothing is asked: what only adds is done,
        what would replace something that you wrote is left out and named. With <info>--force</info> nothing is asked and all of it is done. Keys that exist are never made anew.

        Exit codes: <info>0</info> set up; <info>1</info> something was left out, missing, or could not be written; <info>64</info> <info>--redis</info> names no connection.
        HELP;

    protected function configure(): void
    {
        // A signature cannot tell an option without its value from none at all.
        $this->addOption('redis', null, InputOption::VALUE_OPTIONAL, 'Several servers hear each other over this Redis connection of config/database.php; without a name: "default"', false);
    }

    public function handle(Laravel $laravel, Repository $config, BinaryLocator $locator): int
    {
        $connections = RedisConfig::connections((array) $config->get('database.redis'));
        $redis = $this->redis();

        if ($redis !== null && ! in_array($redis, $connections, true)) {
            $exist = $connections === [] ? 'none is there' : 'there are '.implode(', ', $connections);
            $this->output->getErrorStyle()->writeln(
                ['', "--redis: expected the name of a connection in config/database.php, under redis, found \"{$redis}\"; {$exist}.", ''],
                OutputInterface::OUTPUT_RAW,
            );

            return self::MISTAKEN_OPTION;
        }

        $app = self::application($laravel);
        $parts = new Parts($locator);

        if ($this->option('build') && ! $this->build($parts)) {
            return self::FAILURE;
        }

        $configured = $config->get('fanfare.server.binary');
        [$binary, $isFound] = $parts->binary(is_string($configured) && $configured !== '' ? $configured : null);

        try {
            $plan = Plan::of($app, (bool) $this->option('from-reverb'), ! $this->option('without-echo'), $isFound ? null : $binary, $redis, dirname(__DIR__, 2).'/config/fanfare.php');
            $isComplete = $this->carryOut($plan, $app);
        } catch (NotInstallable|RuntimeException $e) {
            $this->output->getErrorStyle()->writeln(['', $e->getMessage(), ''], OutputInterface::OUTPUT_RAW);

            return self::FAILURE;
        }

        $this->explain($plan, $app, $laravel->configurationIsCached());
        $hasNode = $this->option('without-echo') || $this->nodePackages($app);
        $this->explainParts($parts, $binary);

        if ($redis !== null) {
            $this->components->info('A server that runs hears others after `php artisan fanfare:restart`. `php artisan fanfare:doctor` says whether Redis lets it in.');
        }

        return $isComplete && $hasNode ? self::SUCCESS : self::FAILURE;
    }

    private static function application(Laravel $laravel): Application
    {
        return new Application(
            $laravel->basePath(),
            $laravel->environmentFilePath(),
            $laravel->configPath(),
            $laravel->bootstrapPath('app.php'),
            $laravel->resourcePath(),
            // Laravel's own stubs: what people find in their files is what Laravel's documentation shows.
            dirname((string) (new ReflectionClass(BroadcastingInstallCommand::class))->getFileName()).'/stubs',
        );
    }

    /**
     * The connection that is asked for, if one is.
     */
    private function redis(): ?string
    {
        $redis = $this->option('redis');

        return match (true) {
            $redis === false => null,
            is_string($redis) => $redis,
            default => 'default',
        };
    }

    /**
     * Whether all of it was done.
     */
    private function carryOut(Plan $plan, Application $app): bool
    {
        if ($plan->changes === []) {
            $this->components->info('Everything is set up: no file has to change.');
        }

        $isComplete = true;
        $declined = [];

        foreach ($plan->changes as $change) {
            $this->show($change, $app);

            // What builds on a change that was declined cannot be made.
            if (isset($declined[$change->path]) || ! $this->mayMake($change, $app)) {
                $declined[$change->path] = true;
                $isComplete = false;
                $this->components->warn("Left out: {$app->shown($change->path)} ({$change->why}).".($change->replaces && ! $this->input->isInteractive() ? ' It would replace what you wrote: `php artisan fanfare:install --force` does it.' : ''));

                continue;
            }

            $change->write();
            $this->components->info("Written: {$app->shown($change->path)}.");
        }

        return $isComplete;
    }

    private function show(Change $change, Application $app): void
    {
        $this->output->writeln(['', "<options=bold>{$app->shown($change->path)}</>: {$change->why}"]);

        if ($change->before === null) {
            $this->output->writeln('  + a new file of '.substr_count($change->after, "\n").' lines');

            return;
        }

        $isEnv = $change->path === $app->env;

        foreach (Diff::lines($change->before, $change->after, $isEnv ? 0 : 2) as $line) {
            // Neither a style of Symfony's nor somebody's password.
            $this->output->writeln('  '.($isEnv ? EnvFile::masked($line) : $line), OutputInterface::OUTPUT_RAW);
        }
    }

    private function mayMake(Change $change, Application $app): bool
    {
        if ($this->option('force')) {
            return true;
        }

        if (! $this->input->isInteractive()) {
            return ! $change->replaces;
        }

        return $this->components->confirm("Write {$app->shown($change->path)}?", ! $change->replaces);
    }

    private function explain(Plan $plan, Application $app, bool $isCached): void
    {
        if ($plan->kept !== []) {
            $this->components->info('Reverb\'s variables stay the truth, since no FANFARE_* is set in their place:');

            foreach ($plan->kept as $name) {
                $this->components->twoColumnDetail($name, ReverbVariables::words($name));
            }
        }

        if (ChannelRoutes::needsHand($app)) {
            $this->components->warn("{$app->shown($app->bootstrap)} has a form of its own: add channels: __DIR__.'/../routes/channels.php' to withRouting() for private channels.");
        }

        $hint = $this->option('without-echo') ? null : EchoSetup::hint($app);

        if ($hint !== null) {
            $this->components->warn($hint);
        }

        if ($isCached) {
            $this->components->warn('The configuration is cached: run `php artisan config:clear`.');
        }
    }

    /**
     * False only when they were to be installed and could not be.
     */
    private function nodePackages(Application $app): bool
    {
        $command = EchoSetup::nodeCommand($app);

        if ($command === null) {
            return true;
        }

        if (! $this->option('node')) {
            $this->components->info("For the browser: {$command}");

            return true;
        }

        $this->components->info("Running: {$command}");
        $process = Process::fromShellCommandline($command, $app->base, timeout: null);
        $process->run(fn (string $type, string $output) => $this->output->write($output, false, OutputInterface::OUTPUT_RAW));

        if (! $process->isSuccessful()) {
            $this->components->error("It ended with exit code {$process->getExitCode()}, and says why above; then run `{$command}` by hand.");
        }

        return $process->isSuccessful();
    }

    private function explainParts(Parts $parts, ?string $binary): void
    {
        $remedy = $parts->extensionRemedy();

        $remedy === null
            ? $this->components->info('The extension is loaded, version '.phpversion('fanfare').'.')
            : $this->components->warn('The extension is not loaded in this PHP.');

        if ($remedy !== null) {
            $this->output->writeln(["  {$remedy}", ''], OutputInterface::OUTPUT_RAW);
        }

        $binary === null
            ? $this->components->warn('The server\'s binary "fanfare" was not found in vendor/bin or on the PATH.')
            : $this->components->info("The server's binary is {$binary}.");

        if (($remedy !== null && ! Parts::hasExtension() || $binary === null) && $parts->build() !== null) {
            $this->output->writeln(['  `php artisan fanfare:install --build` builds what is missing, here.', ''], OutputInterface::OUTPUT_RAW);
        }

        $this->components->info($remedy === null && $binary !== null
            ? 'Start the server with `php artisan fanfare:start`, and broadcast.'
            : 'Then: `php artisan fanfare:doctor` says whether anything is still missing.');
    }

    private function build(Parts $parts): bool
    {
        $command = $parts->build();

        if ($command === null) {
            $this->components->error('--build: expected the package to be a checkout of Fanfare with Makefile and ext/, found an installed package. Install the extension with `pie install fanfare/fanfare`, and the binary from the release (docs/extension.md).');

            return false;
        }

        $this->components->info('Building, which takes minutes the first time: '.implode(' ', $command));
        $process = new Process($command, env: ['FANFARE_DEV' => getenv('FANFARE_DEV') ?: 'machine'], timeout: null);
        $process->run(fn (string $type, string $output) => $this->output->write($output, false, OutputInterface::OUTPUT_RAW));

        if (! $process->isSuccessful()) {
            $this->components->error("Expected the build to succeed, found exit code {$process->getExitCode()}; what it says is above.");
        }

        return $process->isSuccessful();
    }
}
