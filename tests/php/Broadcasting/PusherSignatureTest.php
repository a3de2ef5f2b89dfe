<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Broadcasting;

use Fanfare\Laravel\Broadcasting\PusherSignature;
use Fanfare\Laravel\Config\AppCredentials;
use PHPUnit\Framework\TestCase;

/**
 * The examples of Pusher's documents "Authorization signatures" and "User authentication".
 */
final class PusherSignatureTest extends TestCase
{
    private const string KEY = '278d425bdf160c739803';

    private PusherSignature $signature;

    protected function setUp(): void
    {
        $this->signature = new PusherSignature(new AppCredentials('1', self::KEY, '7ad3773142a6692b25b8'));
    }

    public function test_private_channel(): void
    {
        self::assertSame(
            ['auth' => self::KEY.':58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4'],
            $this->signature->ofChannel('1234.1234', 'private-foobar'),
        );
    }

    public function test_presence_channel(): void
    {
        $data = '{"user_id":10,"user_info":{"name":"Mr. Pusher"}}';

        self::assertSame(
            ['auth' => self::KEY.':afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c', 'channel_data' => $data],
            $this->signature->ofPresenceChannel('1234.1234', 'presence-foobar', $data),
        );
    }

    public function test_user(): void
    {
        $data = '{"id":"12345"}';

        self::assertSame(
            ['auth' => self::KEY.':4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba', 'user_data' => $data],
            $this->signature->ofUser('1234.1234', $data),
        );
    }
}
