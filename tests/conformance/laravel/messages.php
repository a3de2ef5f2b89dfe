<?php

declare(strict_types=1);

namespace App\Events {

    use Illuminate\Broadcasting\EncryptedPrivateChannel;
    use Illuminate\Broadcasting\InteractsWithSockets;
    use Illuminate\Broadcasting\PresenceChannel;
    use Illuminate\Broadcasting\PrivateChannel;
    use Illuminate\Contracts\Broadcasting\ShouldBroadcastNow;

    final class OrderShipped implements ShouldBroadcastNow
    {
        use InteractsWithSockets;

        public function __construct(public readonly int $order) {}

        public function broadcastOn(): array
        {
            return [new PrivateChannel('orders.1'), new PresenceChannel('room'), new PrivateChannel('cache-rates')];
        }
    }

    final class LetterSent implements ShouldBroadcastNow
    {
        public function __construct(public readonly string $text) {}

        public function broadcastOn(): EncryptedPrivateChannel
        {
            return new EncryptedPrivateChannel('mail');
        }
    }
}

namespace App\Notifications {

    use Illuminate\Notifications\Messages\BroadcastMessage;
    use Illuminate\Notifications\Notification;

    final class InvoicePaid extends Notification
    {
        public function __construct(public readonly int $amount) {}

        public function via(object $notifiable): array
        {
            return ['broadcast'];
        }

        public function toBroadcast(object $notifiable): BroadcastMessage
        {
            return new BroadcastMessage(['amount' => $this->amount]);
        }
    }
}
