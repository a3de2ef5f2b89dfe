<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use Fanfare\Laravel\Publishing\Publisher;
use Throwable;

/**
 * A publisher that keeps what it is given; it fails when it is told to.
 */
final class RecordedPublications implements Publisher
{
    /** @var list<array{channels: list<string>, event: string, data: string, except: ?string}> */
    public array $all = [];

    /**
     * @param  int  $failAt  the publication, counted from 0, that fails with `$failure`
     */
    public function __construct(private readonly int $failAt = -1, private readonly ?Throwable $failure = null) {}

    public function publish(array $channels, string $event, string $data, ?string $except): void
    {
        if ($this->failure !== null && count($this->all) === $this->failAt) {
            throw $this->failure;
        }

        $this->all[] = compact('channels', 'event', 'data', 'except');
    }
}
