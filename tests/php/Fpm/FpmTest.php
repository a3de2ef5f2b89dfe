<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Fpm;

use CurlHandle;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\FreshApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningFpm;
use Fanfare\Laravel\Tests\Support\RunningNginx;
use Fanfare\Laravel\Tests\Support\TracedServer;
use PHPUnit\Framework\TestCase;

/**
 * A Laravel application behind nginx and php-fpm, whose requests broadcast through the extension.
 */
final class FpmTest extends TestCase
{
    use OwnDirectory;

    private const int WORKERS = 4;

    /** At a time: more than there are workers, so that some always wait. */
    private const int BROWSERS = 8;

    private const int REQUESTS = 400;

    private const string ROUTES = <<<'PHP'
        <?php

        use Illuminate\Support\Facades\Broadcast;
        use Illuminate\Support\Facades\Route;

        Route::get('/say/{n}', static function (string $n): string {
            Broadcast::on('news')->as('Said')->with(['n' => (int) $n])->sendNow();

            return (string) getmypid();
        });

        PHP;

    private const string INDEX = <<<'PHP'
        <?php

        require __DIR__.'/../vendor/autoload.php';
        (require __DIR__.'/../bootstrap/app.php')->handleRequest(Illuminate\Http\Request::capture());

        PHP;

    public function test_workers_that_are_recycled_and_reloaded_under_load_lose_and_repeat_nothing_and_no_request_fails(): void
    {
        $server = new TracedServer($this->socket);
        // Recycled each 30 requests, and reloaded twice.
        $fpm = new RunningFpm($this->scratch, self::WORKERS, 'pm.max_requests = 30');
        $nginx = $this->nginx($fpm);

        $browsers = curl_multi_init();
        $next = 0;
        $done = 0;
        $workers = [];
        $said = [];

        while ($done < self::REQUESTS) {
            while ($next < self::REQUESTS && ($next - $done) < self::BROWSERS) {
                curl_multi_add_handle($browsers, $this->request($next++));
            }

            curl_multi_exec($browsers, $running);

            while (($message = curl_multi_info_read($browsers)) !== false) {
                $request = $message['handle'];
                $answer = (string) curl_multi_getcontent($request);
                self::assertSame(200, curl_getinfo($request, CURLINFO_RESPONSE_CODE), curl_error($request).$answer);
                curl_multi_remove_handle($browsers, $request);
                $workers[$answer] = true;
                $done++;

                // The broadcast had returned when the answer came.
                $said[] = json_decode($server->published('Said')['data'], true, flags: JSON_THROW_ON_ERROR)['n'];

                if ($done % 150 === 0) {
                    $fpm->reload();
                }
            }

            $running > 0 && curl_multi_select($browsers, 1);
        }

        // All workers of three generations, each of which ended after thirty requests at most.
        self::assertGreaterThanOrEqual(intdiv(self::REQUESTS, 30), count($workers));

        $nginx->stop();
        self::assertStringNotContainsString('Fanfare', $fpm->stop());

        // Every worker has given back what it had.
        while (substr_count($server->transcript(), 'a PHP process is gone') < count($workers)) {
            $server->line('a PHP process is gone');
        }

        $server->stop();
        sort($said);
        self::assertSame(range(0, self::REQUESTS - 1), $said);
        self::assertSame(self::REQUESTS, substr_count($server->transcript(), '"message":"publication"'));
        self::assertSame(count($workers), substr_count($server->transcript(), 'a PHP process is attached'));
    }

    public function test_a_pool_may_load_the_extension_by_itself(): void
    {
        $server = new TracedServer($this->socket);
        $extension = (string) realpath(ChatApplication::path('../../target/fanfare.so'));
        $fpm = new RunningFpm($this->scratch, 1, "php_admin_value[extension] = {$extension}", false);
        $nginx = $this->nginx($fpm);

        $request = $this->request(7);
        $answer = curl_exec($request);
        self::assertSame(200, curl_getinfo($request, CURLINFO_RESPONSE_CODE), (string) $answer);
        self::assertSame('{"n":7}', $server->published('Said')['data']);

        $nginx->stop();
        $fpm->stop();
        $server->stop();
    }

    private function request(int $n): CurlHandle
    {
        $request = curl_init("http://localhost/say/{$n}");
        curl_setopt_array($request, [CURLOPT_UNIX_SOCKET_PATH => $this->scratch->path('nginx.sock'), CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 60]);

        return $request;
    }

    private function nginx(RunningFpm $fpm): RunningNginx
    {
        $app = new FreshApplication($this->scratch, [
            'routes/web.php' => self::ROUTES,
            'public/index.php' => self::INDEX,
            '.env' => implode("\n", [
                'APP_KEY=base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=', 'APP_DEBUG=true', 'SESSION_DRIVER=array', 'CACHE_STORE=array', 'LOG_CHANNEL=single',
                'BROADCAST_CONNECTION=fanfare', 'FANFARE_APP_ID=test', 'FANFARE_APP_KEY='.ChatApplication::KEY, 'FANFARE_APP_SECRET='.ChatApplication::SECRET,
                "FANFARE_SOCKET={$this->socket}", 'FANFARE_FALLBACK=none', 'FANFARE_TRANSPORT=ring', 'FANFARE_CONNECT_TIMEOUT_MS=10000', '',
            ]),
        ]);

        return new RunningNginx($this->scratch, <<<NGINX
            server {
                listen unix:{$this->scratch->path('nginx.sock')};
                location / {
                    fastcgi_pass unix:{$fpm->socket};
                    fastcgi_param SCRIPT_FILENAME {$app->directory}/public/index.php;
                    fastcgi_param SCRIPT_NAME /index.php;
                    fastcgi_param REQUEST_METHOD \$request_method;
                    fastcgi_param REQUEST_URI \$request_uri;
                    fastcgi_param QUERY_STRING \$query_string;
                    fastcgi_param SERVER_PROTOCOL \$server_protocol;
                    fastcgi_param HTTP_HOST localhost;
                }
            }
            NGINX);
    }
}
