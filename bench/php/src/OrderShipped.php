<?php

declare(strict_types=1);

namespace Fanfare\Bench;

use Illuminate\Broadcasting\Channel;
use Illuminate\Contracts\Broadcasting\ShouldBroadcastNow;

/**
 * An event as applications have them: some ids, a text, broadcast on one channel in the same request.
 */
final class OrderShipped implements ShouldBroadcastNow
{
    /** @param array<string, mixed> $shipment */
    public function __construct(
        public readonly int $order,
        public readonly string $status,
        public readonly array $shipment,
    ) {}

    public static function example(): self
    {
        return new self(4711, 'shipped', [
            'carrier' => 'Post',
            'tracking' => 'RR123456785DE',
            'parcels' => 2,
            'text' => 'Two parcels are on their way and arrive on Thursday between nine and eleven o\'clock.',
        ]);
    }

    public function broadcastOn(): Channel
    {
        return new Channel('orders.'.$this->order);
    }

    /** @return array<string, mixed> what Laravel makes of the public properties */
    public function payload(): array
    {
        return ['order' => $this->order, 'status' => $this->status, 'shipment' => $this->shipment];
    }
}
