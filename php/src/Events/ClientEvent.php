<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Events;

/**
 * A client has sent an event to the others on a channel, Echo's whisper(), and the server has let it through.
 */
final readonly class ClientEvent
{
    /**
     * @param  string  $id  the same when it is told again
     * @param  string  $app  the app's id
     * @param  string  $event  its name, `client-` included
     * @param  string  $data  the string that the client sent, or the JSON text of anything else
     * @param  string|null  $userId  the member of the presence channel or, elsewhere, the user that the connection is signed in as,
     *                               both vouched for by the application; null: it is not known who sent it
     */
    public function __construct(
        public string $id,
        public string $app,
        public string $channel,
        public string $event,
        public string $data,
        public string $socketId,
        public ?string $userId,
    ) {}
}
