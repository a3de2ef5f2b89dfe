<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Broadcasting;

use Fanfare\Laravel\Tests\Support\ChatApplication;
use Illuminate\Auth\GenericUser;
use Illuminate\Contracts\Http\Kernel;
use Illuminate\Foundation\Application;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Broadcast;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;
use Symfony\Component\HttpFoundation\Response;

/**
 * POST /broadcasting/auth and /broadcasting/user-auth through the application's own HTTP kernel.
 */
final class ChannelAuthorizationTest extends TestCase
{
    private Application $app;

    protected function setUp(): void
    {
        $this->app = ChatApplication::boot();

        Broadcast::routes(['middleware' => []]);
        Broadcast::userRoutes(['middleware' => []]);
        Broadcast::channel('orders.{id}', static fn (GenericUser $user, string $id): bool => $id === '7');
        Broadcast::channel('room', static fn (GenericUser $user): array => ['name' => 'Ada']);
        Broadcast::resolveAuthenticatedUserUsing(static fn (Request $request): array => ['id' => '42', 'socket' => $request->input('socket_id')]);
    }

    public function test_a_private_channel_is_signed(): void
    {
        $response = $this->post('auth', ['socket_id' => '1.2', 'channel_name' => 'private-orders.7']);

        self::assertSame(200, $response->getStatusCode());
        self::assertSame(
            ['auth' => ChatApplication::KEY.':'.hash_hmac('sha256', '1.2:private-orders.7', ChatApplication::SECRET)],
            json_decode((string) $response->getContent(), true),
        );
    }

    public function test_a_presence_channel_is_signed_with_its_member(): void
    {
        $response = $this->post('auth', ['socket_id' => '1.2', 'channel_name' => 'presence-room']);
        $member = '{"user_id":42,"user_info":{"name":"Ada"}}';

        self::assertSame(
            [
                'auth' => ChatApplication::KEY.':'.hash_hmac('sha256', "1.2:presence-room:{$member}", ChatApplication::SECRET),
                'channel_data' => $member,
            ],
            json_decode((string) $response->getContent(), true),
        );
    }

    public function test_a_user_is_signed_in(): void
    {
        $response = $this->post('user-auth', ['socket_id' => '1.2']);
        $user = '{"id":"42","socket":"1.2"}';

        self::assertSame(
            ['auth' => ChatApplication::KEY.':'.hash_hmac('sha256', "1.2::user::{$user}", ChatApplication::SECRET), 'user_data' => $user],
            json_decode((string) $response->getContent(), true),
        );
    }

    /**
     * @param  array<string, mixed>  $form
     */
    #[DataProvider('refused')]
    public function test_everything_else_is_refused(array $form, bool $signedIn = true): void
    {
        self::assertSame(403, $this->post('auth', $form, $signedIn)->getStatusCode());
    }

    /**
     * @return iterable<string, array{0: array<string, mixed>, 1?: bool}>
     */
    public static function refused(): iterable
    {
        yield 'a callback that says no' => [['socket_id' => '1.2', 'channel_name' => 'private-orders.8']];
        yield 'a channel without a callback' => [['socket_id' => '1.2', 'channel_name' => 'private-other']];
        yield 'nobody signed in' => [['socket_id' => '1.2', 'channel_name' => 'private-orders.7'], false];
        yield 'no channel' => [['socket_id' => '1.2']];
        yield 'no socket id' => [['channel_name' => 'private-orders.7']];
        yield 'a socket id that would sign something else' => [['socket_id' => '1.2:presence-room', 'channel_name' => 'private-orders.7']];
        yield 'a channel name that would sign something else' => [['socket_id' => '1.2', 'channel_name' => 'private-orders.7:{"user_id":1}']];
        yield 'a list for a channel' => [['socket_id' => '1.2', 'channel_name' => ['private-orders.7']]];
    }

    /**
     * @param  array<string, mixed>  $form
     */
    private function post(string $path, array $form, bool $signedIn = true): Response
    {
        $request = Request::create("/broadcasting/{$path}", 'POST', $form, server: ['HTTP_ACCEPT' => 'application/json']);

        if ($signedIn) {
            $this->app->make('auth')->guard()->setUser(new GenericUser(['id' => 42]));
        }

        return $this->app->make(Kernel::class)->handle($request);
    }
}
