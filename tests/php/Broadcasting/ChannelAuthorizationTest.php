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
    private const string MASTER_KEY = '0123456789abcdef0123456789abcdef';

    private Application $app;

    protected function setUp(): void
    {
        $this->app = ChatApplication::boot(['fanfare.apps' => [[
            'id' => 'test',
            'key' => ChatApplication::KEY,
            'secret' => ChatApplication::SECRET,
            'encryption_master_key' => base64_encode(self::MASTER_KEY),
        ]]]);

        Broadcast::routes(['middleware' => []]);
        Broadcast::userRoutes(['middleware' => []]);
        Broadcast::channel('orders.{id}', static fn (GenericUser $user, string $id): bool => $id === '7');
        Broadcast::channel('foo', static fn (): bool => true);
        Broadcast::channel('cache-{name}', static fn (): array => ['name' => 'Ada']);
        Broadcast::channel('staff', static fn (GenericUser $user): bool => $user->id === 9, ['guards' => ['web', 'staff']]);
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

    public function test_a5_an_encrypted_channel_comes_with_its_key(): void
    {
        $response = $this->post('auth', ['socket_id' => '1.2', 'channel_name' => 'private-encrypted-foo']);

        self::assertSame(
            [
                'auth' => ChatApplication::KEY.':'.hash_hmac('sha256', '1.2:private-encrypted-foo', ChatApplication::SECRET),
                'shared_secret' => 'mi6ujdNqJtS1E+MI32Ma63nvdhVlkio2R84zbolRcMg=',
            ],
            json_decode((string) $response->getContent(), true),
        );
    }

    public function test_a5_without_a_master_key_the_application_is_at_fault_and_not_the_client(): void
    {
        $this->app->make('config')->set('fanfare.apps.0.encryption_master_key', null);

        self::assertSame(500, $this->post('auth', ['socket_id' => '1.2', 'channel_name' => 'private-encrypted-foo'])->getStatusCode());
        self::assertSame(200, $this->post('auth', ['socket_id' => '1.2', 'channel_name' => 'private-foo'])->getStatusCode());
    }

    /**
     * "cache-" is a part of the name: a route for private-cache-x is cache-x, as Laravel has it.
     *
     * @param  list<string>  $fields
     */
    #[DataProvider('cacheKinds')]
    public function test_n2_cache_channels_are_authorized_as_the_kind_that_they_are(string $channel, array $fields): void
    {
        $response = $this->post('auth', ['socket_id' => '1.2', 'channel_name' => $channel]);

        self::assertSame(200, $response->getStatusCode());
        self::assertSame($fields, array_keys(json_decode((string) $response->getContent(), true)));
    }

    /**
     * @return iterable<string, array{string, list<string>}>
     */
    public static function cacheKinds(): iterable
    {
        yield 'private' => ['private-cache-x', ['auth']];
        yield 'presence' => ['presence-cache-x', ['auth', 'channel_data']];
        yield 'encrypted' => ['private-encrypted-cache-x', ['auth', 'shared_secret']];
    }

    public function test_a_channel_may_name_the_guards_that_know_its_users(): void
    {
        $this->app->make('config')->set('auth.guards.staff', ['driver' => 'session', 'provider' => 'users']);
        $this->app->make('auth')->guard('staff')->setUser(new GenericUser(['id' => 9]));

        self::assertSame(200, $this->post('auth', ['socket_id' => '1.2', 'channel_name' => 'private-staff'], signedIn: false)->getStatusCode());
    }

    public function test_jsonp_is_answered_only_where_the_connection_allows_it(): void
    {
        $form = ['socket_id' => '1.2', 'channel_name' => 'private-foo', 'callback' => 'pusher.done'];
        self::assertStringStartsWith('{"auth":', (string) $this->post('auth', $form)->getContent());

        $this->app->make('config')->set('broadcasting.connections.fanfare.jsonp', true);
        Broadcast::purge('fanfare');
        Broadcast::channel('foo', static fn (): bool => true);

        $response = $this->post('auth', $form);
        self::assertStringStartsWith('/**/pusher.done({"auth":', (string) $response->getContent());
        self::assertStringStartsWith('text/javascript', (string) $response->headers->get('Content-Type'));

        foreach (['alert(1)//', 'a;b', '1a', ['x']] as $callback) {
            self::assertSame(403, $this->post('auth', ['callback' => $callback] + $form)->getStatusCode());
        }
    }

    /**
     * Clients ask for a user whose id is text.
     */
    public function test_s11_the_id_of_a_signed_in_user_is_text(): void
    {
        Broadcast::resolveAuthenticatedUserUsing(static fn (): array => ['user_info' => ['name' => 'Ada'], 'id' => 42]);

        $answer = json_decode((string) $this->post('user-auth', ['socket_id' => '1.2'])->getContent(), true);

        self::assertSame('{"id":"42","user_info":{"name":"Ada"}}', $answer['user_data']);
    }

    /**
     * @param  array<string, mixed>|null  $user
     */
    #[DataProvider('nobodies')]
    public function test_nobody_is_signed_in_without_an_id(?array $user, int $status): void
    {
        Broadcast::resolveAuthenticatedUserUsing(static fn (): ?array => $user);

        self::assertSame($status, $this->post('user-auth', ['socket_id' => '1.2'])->getStatusCode());
    }

    /**
     * @return iterable<string, array{array<string, mixed>|null, int}>
     */
    public static function nobodies(): iterable
    {
        yield 'nobody' => [null, 403];
        yield 'no id' => [['user_info' => []], 500];
        yield 'an empty id' => [['id' => ''], 500];
        yield 'a list for an id' => [['id' => ['1']], 500];
    }

    public function test_a_user_is_signed_in_only_for_a_socket(): void
    {
        self::assertSame(403, $this->post('user-auth', ['socket_id' => '1.2::user::{"id":"1"}'])->getStatusCode());
        self::assertSame(403, $this->post('user-auth', [])->getStatusCode());
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
