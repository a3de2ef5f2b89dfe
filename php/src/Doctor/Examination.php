<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Throwable;

/**
 * All checks, one after the other. One that fails itself is a finding, and the others go on.
 */
final readonly class Examination
{
    /**
     * @param  list<Check>  $checks
     */
    public function __construct(private array $checks) {}

    /**
     * What there is to look at, from what everything needs to what only browsers need.
     */
    public static function complete(): self
    {
        return new self([
            new ConfigurationCheck,
            new BroadcastingCheck,
            new CliExtensionCheck,
            new FpmExtensionCheck,
            new BinaryCheck,
            new VersionsCheck,
            new SocketCheck,
            new ServerCheck,
            new RedisCheck,
            new PortCheck,
            new OpenFilesCheck,
            new PublicUrlCheck,
            new QueueCheck,
            new OctaneCheck,
        ]);
    }

    /**
     * @return iterable<string, Finding>  by the check's title, as they are found
     */
    public function of(Subject $subject): iterable
    {
        foreach ($this->checks as $check) {
            try {
                foreach ($check->findings($subject) as $finding) {
                    yield $check->title() => $finding;
                }
            } catch (Throwable $e) {
                yield $check->title() => Finding::error('The check itself failed: '.get_class($e).": {$e->getMessage()}", 'Please report it.');
            }
        }
    }
}
