<?php

declare(strict_types=1);

namespace App\Events;

use App\Models\Message;
use Illuminate\Broadcasting\Channel;
use Illuminate\Contracts\Broadcasting\ShouldBroadcast;
use Illuminate\Foundation\Events\Dispatchable;

/**
 * How many messages the room holds. Broadcast by a queue worker, which does the counting: nobody
 * who writes waits for it.
 */
final class RoomCounted implements ShouldBroadcast
{
    use Dispatchable;

    public function broadcastOn(): Channel
    {
        return new Channel('chat');
    }

    /**
     * @return array{messages: int}
     */
    public function broadcastWith(): array
    {
        return ['messages' => Message::query()->count()];
    }
}
