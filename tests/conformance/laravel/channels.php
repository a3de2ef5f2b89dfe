<?php

declare(strict_types=1);

use Illuminate\Http\Request;
use Illuminate\Support\Facades\Broadcast;

Broadcast::userRoutes();

Broadcast::resolveAuthenticatedUserUsing(fn (Request $request): array => [
    'id' => (string) $request->user()->id,
    'user_info' => ['name' => $request->user()->name],
    'watchlist' => ['1', '2'],
]);

Broadcast::channel('orders.{customer}', fn (Person $user, string $customer): bool => $user->id === (int) $customer);
Broadcast::channel('App.Models.User.{id}', fn (Person $user, string $id): bool => $user->id === (int) $id);
Broadcast::channel('room', fn (Person $user): array => ['name' => $user->name]);
Broadcast::channel('mail', fn (Person $user): bool => $user->id === 1);
// Laravel takes `private-` off a channel's name, but not `cache-`.
Broadcast::channel('cache-rates', fn (): bool => true);
