<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Publishing;

use Fanfare\Full;
use Fanfare\Laravel\Config\Endpoint;
use Fanfare\Laravel\Exceptions\NotAccepted;
use Fanfare\Laravel\Exceptions\RequestRefused;
use Fanfare\Laravel\Exceptions\ApiUnreachable;
use Fanfare\Laravel\Exceptions\UnexpectedAnswer;
use Fanfare\Laravel\Publishing\FallbackPublisher;
use Fanfare\Laravel\Publishing\Publisher;
use Fanfare\Laravel\Tests\Support\RecordedPublications;
use Fanfare\Rejected;
use Fanfare\TooLarge;
use Fanfare\Unavailable;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;
use Throwable;
use ValueError;

/**
 * Which failures let a publication go another way. The ways themselves are tested elsewhere.
 */
final class FallbackPublisherTest extends TestCase
{
    private int $now = 0;

    #[DataProvider('notAccepted')]
    public function test_what_was_not_accepted_goes_the_next_way(Throwable $failure): void
    {
        $second = new RecordedPublications;

        $this->publisher(new RecordedPublications(0, $failure), $second)->publish(['c'], 'E', '{}', '1.2');

        self::assertSame([['channels' => ['c'], 'event' => 'E', 'data' => '{}', 'except' => '1.2']], $second->all);
    }

    /**
     * @return iterable<string, array{Throwable}>
     */
    public static function notAccepted(): iterable
    {
        yield 'nobody is there' => [new Unavailable('u')];
        yield 'the extension is not wanted there' => [new Rejected('r')];
        yield 'nobody was reached by HTTP' => [ApiUnreachable::at(self::endpoint(), 'x', false)];
        yield 'a server that is about to leave' => [RequestRefused::with(503, '', 'r')];
    }

    /**
     * A publication that the other side may have, or that it does not like, must not be there twice, nor overtake
     * what waits in the ring.
     */
    #[DataProvider('final')]
    public function test_everything_else_is_the_callers_at_once(Throwable $failure): void
    {
        $second = new RecordedPublications;

        try {
            $this->publisher(new RecordedPublications(0, $failure), $second)->publish(['c'], 'E', '{}', null);
            self::fail('expected the failure, found that it was published');
        } catch (Throwable $e) {
            self::assertSame($failure, $e);
        }

        self::assertSame([], $second->all);
    }

    /**
     * @return iterable<string, array{Throwable}>
     */
    public static function final(): iterable
    {
        yield 'a server that does not keep up' => [new Full('f')];
        yield 'too large' => [new TooLarge('t')];
        yield 'a wrong argument' => [new ValueError('v')];
        yield 'an answer that did not come in time' => [ApiUnreachable::at(self::endpoint(), 'x', true)];
        yield 'no to this request' => [RequestRefused::with(400, '', 'r')];
        yield 'wrong credentials' => [RequestRefused::with(401, '', 'r')];
        yield 'no Fanfare there' => [UnexpectedAnswer::to('r', 'e', 'f')];
    }

    public function test_when_no_way_is_open_all_are_told_and_the_first_is_the_reason(): void
    {
        $first = new Unavailable('nobody at the socket');
        $second = RequestRefused::with(401, '', 'POST /x');

        try {
            $this->publisher(new RecordedPublications(0, $first), new RecordedPublications(0, $second))->publish(['c'], 'E', '{}', null);
            self::fail('expected NotAccepted, found that it was published');
        } catch (NotAccepted $e) {
            self::assertSame("nobody at the socket; then {$second->getMessage()}", $e->getMessage());
            self::assertSame([$first, $second], $e->failures);
            self::assertSame($first, $e->getPrevious());
        }
    }

    public function test_a_way_that_failed_rests_for_a_second_while_another_works(): void
    {
        $first = new class implements Publisher
        {
            public int $tries = 0;

            public bool $open = false;

            public function publish(array $channels, string $event, string $data, ?string $except): void
            {
                $this->tries++;
                $this->open || throw new Unavailable('u');
            }
        };
        $second = new RecordedPublications;
        $publisher = $this->publisher($first, $second);

        foreach (range(1, 50) as $_) {
            $publisher->publish(['c'], 'E', '{}', null);
        }

        self::assertSame([1, 50], [$first->tries, count($second->all)]);

        $this->now = 999_999_999;
        $publisher->publish(['c'], 'E', '{}', null);
        self::assertSame([1, 51], [$first->tries, count($second->all)]);

        $this->now = 1_000_000_000;
        $publisher->publish(['c'], 'E', '{}', null);
        self::assertSame([2, 52], [$first->tries, count($second->all)]);

        $first->open = true;
        $this->now = 2_000_000_000;
        $publisher->publish(['c'], 'E', '{}', null);
        $publisher->publish(['c'], 'E', '{}', null);
        self::assertSame([4, 52], [$first->tries, count($second->all)], 'the first way is taken again');
    }

    public function test_a_way_that_rests_is_tried_before_a_publication_is_given_up(): void
    {
        $first = new RecordedPublications(0, new Unavailable('u'));
        $ways = [$first, new RecordedPublications(1, new Unavailable('v'))];
        $publisher = $this->publisher(...$ways);

        $publisher->publish(['c'], 'one', '{}', null);

        $this->expectException(NotAccepted::class);
        $this->expectExceptionMessage('v; then u');

        $publisher->publish(['c'], 'two', '{}', null);
    }

    public function test_another_configuration_has_other_ways(): void
    {
        $ways = [$first = new RecordedPublications(0, new Unavailable('u')), $second = new RecordedPublications];
        $publisher = new FallbackPublisher(static function () use (&$ways): array {
            return $ways;
        }, fn (): int => $this->now);
        $publisher->publish(['c'], 'one', '{}', null);

        $ways = [$third = new RecordedPublications];
        $publisher->publish(['c'], 'two', '{}', null);

        self::assertSame([0, ['one'], ['two']], [count($first->all), array_column($second->all, 'event'), array_column($third->all, 'event')]);
    }

    private function publisher(Publisher ...$ways): FallbackPublisher
    {
        return new FallbackPublisher(static fn (): array => array_values($ways), fn (): int => $this->now);
    }

    private static function endpoint(): Endpoint
    {
        return Endpoint::ofSocket('/s', 1, 1);
    }
}
