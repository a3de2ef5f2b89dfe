<?php

declare(strict_types=1);

namespace App\Events;

use Illuminate\Broadcasting\Channel;
use Illuminate\Broadcasting\InteractsWithSockets;
use Illuminate\Contracts\Broadcasting\ShouldBroadcastNow;

/**
 * Somebody wrote a message. Broadcast at once, inside the request that stored it.
 */
final class MessageSent implements ShouldBroadcastNow
{
    use InteractsWithSockets;

    /** Wall clock at the broadcast, in milliseconds: a browser on the same machine shows its age. */
    public float $sentAtMs;

    /** Monotonic clock at the broadcast, which other processes of the same machine share. */
    public int $sentAtNs;

    public function __construct(
        public readonly string $id,
        public readonly string $author,
        public readonly string $text,
    ) {
        $this->sentAtMs = microtime(true) * 1_000;
        $this->sentAtNs = hrtime(true);
    }

    public function broadcastOn(): Channel
    {
        return new Channel('chat');
    }
}
