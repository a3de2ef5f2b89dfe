<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

use Composer\InstalledVersions;
use Fanfare\Laravel\Doctor\Examination;
use Fanfare\Laravel\Doctor\Finding;
use Fanfare\Laravel\Doctor\Severity;
use Fanfare\Laravel\Doctor\Subject;
use Fanfare\Laravel\Server\BinaryLocator;
use Illuminate\Console\Command;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Foundation\Application;
use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Output\OutputInterface;

/**
 * `php artisan fanfare:doctor`: looks at everything that can be wrong with an installation, and says
 * what to do. Exit code: 1 when something does not work, otherwise 0.
 */
#[AsCommand(name: 'fanfare:doctor')]
final class DoctorCommand extends Command
{
    private const array MARKS = ['good' => '<fg=green>✓</>', 'note' => '<fg=blue>i</>', 'warning' => '<fg=yellow>!</>', 'error' => '<fg=red>✗</>'];

    protected $signature = 'fanfare:doctor
        {--url= : Where browsers connect, instead of FANFARE_URL: https://app.example}
        {--json : One JSON document on standard output}';

    protected $description = 'Find out what is wrong with the installation of Fanfare, and what to do about it';

    protected $help = <<<'HELP'
        Looks at the configuration, the extension on the command line and in PHP-FPM, the binary, versions, the socket and its permissions,
        the running server (with a real broadcast), Redis, the port, the limit of open files, the public URL (with a real WebSocket handshake),
        the queue and Octane. It changes nothing.

        Run it as root to see PHP-FPM and permissions of other users, or as the user of the server.

        Exit codes: <info>0</info> everything works, there may be warnings; <info>1</info> something does not work.
        HELP;

    public function handle(Application $app, Repository $config, BinaryLocator $locator): int
    {
        $findings = Examination::complete()->of($this->subject($app, $config, $locator));

        return $this->option('json') ? $this->writeJson($findings) : $this->writeText($findings);
    }

    private function subject(Application $app, Repository $config, BinaryLocator $locator): Subject
    {
        $given = $this->option('url');
        $configured = $config->get('fanfare.url');
        $url = is_string($given) && $given !== '' ? $given : $configured;
        $cache = $app->getCachedConfigPath();
        $origin = $config->get('app.url');

        return new Subject(
            (array) $config->get('fanfare'),
            (array) $config->get('broadcasting'),
            (array) $config->get('queue'),
            $app->configurationIsCached() ? $cache : null,
            [$app->environmentFilePath(), ...(glob($app->configPath('*.php')) ?: [])],
            is_string($url) && $url !== '' ? $url : null,
            is_string($origin) && $origin !== '' ? $origin : 'http://localhost',
            (string) getenv('PATH'),
            InstalledVersions::getInstalledPackages(),
            $locator,
            (array) $config->get('database.redis'),
        );
    }

    /**
     * @param  iterable<string, Finding>  $findings
     */
    private function writeText(iterable $findings): int
    {
        $counts = ['good' => 0, 'note' => 0, 'warning' => 0, 'error' => 0];
        $last = null;

        foreach ($findings as $title => $finding) {
            if ($title !== $last) {
                $this->output->writeln(['', "<options=bold>{$title}</>"]);
                $last = $title;
            }

            $counts[$finding->severity->value]++;
            $this->output->write('  '.self::MARKS[$finding->severity->value].' ');
            $this->output->writeln(str_replace("\n", "\n    ", $finding->message), OutputInterface::OUTPUT_RAW);

            if ($finding->remedy !== '') {
                $this->output->writeln("      → {$finding->remedy}", OutputInterface::OUTPUT_RAW);
            }
        }

        $warnings = $counts['warning'].($counts['warning'] === 1 ? ' warning' : ' warnings');
        $this->output->writeln(['', match (true) {
            $counts['error'] > 0 => "<fg=red>{$counts['error']} of these do not work</>, {$warnings}.",
            $counts['warning'] > 0 => "<fg=yellow>Everything works, with {$warnings}.</>",
            default => '<fg=green>Everything works.</>',
        }]);

        return $counts['error'] > 0 ? self::FAILURE : self::SUCCESS;
    }

    /**
     * @param  iterable<string, Finding>  $findings
     */
    private function writeJson(iterable $findings): int
    {
        $list = [];
        $healthy = true;

        foreach ($findings as $title => $finding) {
            $healthy = $healthy && $finding->severity !== Severity::Error;
            $list[] = ['check' => $title, 'severity' => $finding->severity->value, 'message' => $finding->message, 'remedy' => $finding->remedy];
        }

        $this->output->writeln(
            json_encode(['healthy' => $healthy, 'findings' => $list], JSON_THROW_ON_ERROR | JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE),
            OutputInterface::OUTPUT_RAW,
        );

        return $healthy ? self::SUCCESS : self::FAILURE;
    }
}
