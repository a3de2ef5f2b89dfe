<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Api;

use Fanfare\Laravel\Api\RequestSignature;
use Fanfare\Laravel\Config\AppCredentials;
use PHPUnit\Framework\TestCase;

/**
 * The worked example of Pusher's document "HTTP API", section "Worked authentication example".
 */
final class RequestSignatureTest extends TestCase
{
    private const string KEY = '278d425bdf160c739803';

    public function test_h1_h2_the_worked_example(): void
    {
        $query = $this->signature()->sign(
            'POST',
            '/apps/3/events',
            [],
            '{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}',
            1_353_088_179,
        );

        self::assertSame([
            'auth_key' => self::KEY,
            'auth_timestamp' => '1353088179',
            'auth_version' => '1.0',
            'body_md5' => 'ec365a775a4cd0599faeb73354201b6f',
            'auth_signature' => 'da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c',
        ], $query);
    }

    public function test_h1_the_query_is_sorted_and_signed_unescaped(): void
    {
        $query = $this->signature()->sign('GET', '/apps/3/channels', ['info' => 'user_count,cache', 'filter_by_prefix' => 'presence-ü'], '', 1);

        self::assertSame(
            hash_hmac(
                'sha256',
                "GET\n/apps/3/channels\nauth_key=".self::KEY.'&auth_timestamp=1&auth_version=1.0&filter_by_prefix=presence-ü&info=user_count,cache',
                '7ad3773142a6692b25b8',
            ),
            $query['auth_signature'],
        );
        self::assertArrayNotHasKey('body_md5', $query);
    }

    private function signature(): RequestSignature
    {
        return new RequestSignature(new AppCredentials('3', self::KEY, '7ad3773142a6692b25b8'));
    }
}
