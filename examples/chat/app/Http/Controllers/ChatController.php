<?php

declare(strict_types=1);

namespace App\Http\Controllers;

use App\Events\MessageSent;
use App\Events\RoomCounted;
use App\Models\Message;
use Illuminate\Contracts\View\View;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;

final class ChatController
{
    private const int MESSAGES_SHOWN = 30;

    public function show(): View
    {
        return view('chat', [
            'count' => Message::query()->count(),
            'messages' => Message::query()->latest('id')->limit(self::MESSAGES_SHOWN)->get()->reverse(),
        ]);
    }

    public function store(Request $request): JsonResponse
    {
        $message = Message::query()->create($request->validate([
            'author' => ['required', 'string', 'max:40'],
            'text' => ['required', 'string', 'max:2000'],
        ]));

        $event = new MessageSent($message->id, $message->author, $message->text);

        $start = hrtime(true);
        // The page sends its socket id in X-Socket-ID, so that its own window is left out.
        broadcast($event)->toOthers();
        $took = hrtime(true) - $start;

        RoomCounted::dispatch();

        return response()->json([
            'id' => $message->id,
            'author' => $message->author,
            'text' => $message->text,
            'broadcastUs' => round($took / 1_000, 1),
        ], 201);
    }
}
