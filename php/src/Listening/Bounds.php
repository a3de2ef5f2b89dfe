<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Listening;

/**
 * How long a worker goes on, and how often it tries.
 */
final readonly class Bounds
{
    /**
     * @param  int  $eventsMax  after so many events it ends; 0: it does not
     * @param  int  $secondsMax  after so many seconds it ends; 0: it does not
     * @param  int  $memoryMb  with more memory than this it ends
     * @param  int  $tries  how often an event is dispatched whose listeners throw; 0: until they do not
     * @param  float  $backoffS  the first pause before it is dispatched again; each further one is twice as long, up to 30 s
     */
    public function __construct(
        public bool $once = false,
        public int $eventsMax = 0,
        public int $secondsMax = 0,
        public int $memoryMb = 128,
        public int $tries = 3,
        public float $backoffS = 1.0,
    ) {}
}
