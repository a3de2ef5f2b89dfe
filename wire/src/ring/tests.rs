//! The same behaviour over the heap and over shared memory, then what only a model checker or a liar can show.

#[cfg(loom)]
mod model;

#[cfg(not(loom))]
mod behaviour {
    use std::os::fd::AsFd;
    use std::sync::Arc;

    use crate::record::Sink;
    use crate::ring::{
        Batch, CAPACITY_MIN, Consumer, HeapMemory, Memory, Producer, ReserveError, RingError, SharedMemory,
        Unread,
    };

    fn heap() -> (Producer<impl Memory>, Consumer<impl Memory>) {
        let memory = Arc::new(HeapMemory::new(CAPACITY_MIN / 8));
        (Producer::new(Arc::clone(&memory)), Consumer::new(memory).unwrap())
    }

    fn shared() -> (Producer<impl Memory>, Consumer<impl Memory>) {
        let (producer, memfd) = Producer::create(CAPACITY_MIN).unwrap();
        (producer, Consumer::open(memfd).unwrap())
    }

    /// Runs each test over both memories.
    macro_rules! over_both {
        ($($name:ident),* $(,)?) => {
            mod over_the_heap { $(#[test] fn $name() { super::$name(super::heap()); })* }
            mod over_shared_memory { $(#[test] fn $name() { super::$name(super::shared()); })* }
        };
    }

    over_both!(
        records_arrive_in_order,
        a_span_that_is_dropped_never_existed,
        a_span_filled_wrongly_is_not_committed,
        a_full_ring_refuses_and_recovers,
        a_record_beyond_half_the_ring_is_too_large,
        records_of_every_length_wrap_intact,
        what_is_not_released_is_drained_again,
        the_doorbell_rings_once_per_sleep,
        a_consumer_does_not_sleep_on_a_record,
        unread_records_are_counted,
    );

    fn commit(producer: &mut Producer<impl Memory>, bytes: &[u8]) -> Result<bool, ReserveError> {
        let mut span = producer.reserve(bytes.len())?;
        span.put(bytes);
        Ok(span.commit().unwrap().ring_doorbell)
    }

    fn drain(consumer: &mut Consumer<impl Memory>) -> Vec<Vec<u8>> {
        let mut batch = Batch::new(1000, 1 << 20);
        consumer.drain(&mut batch).unwrap();
        consumer.release(&batch);
        batch.records().map(<[u8]>::to_vec).collect()
    }

    fn records_arrive_in_order((mut producer, mut consumer): (Producer<impl Memory>, Consumer<impl Memory>)) {
        for bytes in [&b"one"[..], b"", b"12345678", b"123456789"] {
            commit(&mut producer, bytes).unwrap();
        }
        assert_eq!(drain(&mut consumer), [&b"one"[..], b"", b"12345678", b"123456789"]);
        assert!(drain(&mut consumer).is_empty());
    }

    fn a_span_that_is_dropped_never_existed(
        (mut producer, mut consumer): (Producer<impl Memory>, Consumer<impl Memory>),
    ) {
        let mut span = producer.reserve(4).unwrap();
        span.put(b"half");
        drop(span);
        assert!(drain(&mut consumer).is_empty());
        commit(&mut producer, b"whole").unwrap();
        assert_eq!(drain(&mut consumer), [b"whole"]);
    }

    fn a_span_filled_wrongly_is_not_committed(
        (mut producer, mut consumer): (Producer<impl Memory>, Consumer<impl Memory>),
    ) {
        let mut span = producer.reserve(4).unwrap();
        span.put(b"abc");
        assert_eq!(span.commit().unwrap_err(), 3);
        let mut span = producer.reserve(4).unwrap();
        span.put(b"abc");
        span.put(b"de");
        assert_eq!(span.commit().unwrap_err(), 5);
        assert!(drain(&mut consumer).is_empty());
    }

    fn a_full_ring_refuses_and_recovers(
        (mut producer, mut consumer): (Producer<impl Memory>, Consumer<impl Memory>),
    ) {
        let mut committed = 0;
        while commit(&mut producer, &[7; 100]).is_ok() {
            committed += 1;
        }
        assert_eq!(committed, CAPACITY_MIN / 112);
        assert!(matches!(producer.reserve(100).unwrap_err(), ReserveError::Full { capacity: 4096, .. }));
        assert_eq!(drain(&mut consumer).len(), committed);
        commit(&mut producer, b"again").unwrap();
        assert_eq!(drain(&mut consumer), [b"again"]);
    }

    fn a_record_beyond_half_the_ring_is_too_large(
        (mut producer, mut consumer): (Producer<impl Memory>, Consumer<impl Memory>),
    ) {
        let max = producer.record_bytes_max();
        assert!(matches!(
            producer.reserve(max + 1).unwrap_err(),
            ReserveError::TooLarge { found, .. } if found == max + 1
        ));
        // From every offset, the largest record fits into a ring that has been drained.
        for step in 0..40 {
            commit(&mut producer, &vec![1; max]).unwrap();
            assert_eq!(drain(&mut consumer), [vec![1; max]]);
            commit(&mut producer, &vec![2; step * 8]).unwrap();
            assert_eq!(drain(&mut consumer), [vec![2; step * 8]]);
        }
    }

    fn records_of_every_length_wrap_intact(
        (mut producer, mut consumer): (Producer<impl Memory>, Consumer<impl Memory>),
    ) {
        for len in 0..1500 {
            let record: Vec<u8> = (0..len).map(|i| (i * 31 + len) as u8).collect();
            commit(&mut producer, &record).unwrap();
            assert_eq!(drain(&mut consumer), [record]);
        }
    }

    fn what_is_not_released_is_drained_again(
        (mut producer, mut consumer): (Producer<impl Memory>, Consumer<impl Memory>),
    ) {
        for bytes in [b"a", b"b", b"c"] {
            commit(&mut producer, bytes).unwrap();
        }
        let mut batch = Batch::new(1, 1 << 20);
        consumer.drain(&mut batch).unwrap();
        consumer.release(&batch);
        consumer.drain(&mut batch).unwrap();
        assert_eq!(batch.records().collect::<Vec<_>>(), [b"b"]);
        // It dies here: the successor takes the same memory.
        let mut successor = Consumer::new(consumer.into_memory()).unwrap();
        assert_eq!(drain(&mut successor), [b"b", b"c"]);
    }

    fn the_doorbell_rings_once_per_sleep(
        (mut producer, mut consumer): (Producer<impl Memory>, Consumer<impl Memory>),
    ) {
        assert!(!commit(&mut producer, b"awake").unwrap());
        drain(&mut consumer);
        assert!(consumer.announce_sleep().unwrap());
        assert!(commit(&mut producer, b"wakes").unwrap());
        assert!(!commit(&mut producer, b"finds it woken").unwrap());
    }

    fn a_consumer_does_not_sleep_on_a_record(
        (mut producer, mut consumer): (Producer<impl Memory>, Consumer<impl Memory>),
    ) {
        assert!(!commit(&mut producer, b"before").unwrap());
        assert!(!consumer.announce_sleep().unwrap());
        assert!(!commit(&mut producer, b"still awake").unwrap());
        assert_eq!(drain(&mut consumer).len(), 2);
    }

    fn unread_records_are_counted(
        (mut producer, mut consumer): (Producer<impl Memory>, Consumer<impl Memory>),
    ) {
        for len in [1, 2000, 1500] {
            commit(&mut producer, &vec![0; len]).unwrap();
        }
        assert_eq!(producer.unread(), Unread { records: 3, bytes: 16 + 2008 + 1512 });
        assert!(!producer.is_drained());
        drain(&mut consumer);
        assert_eq!(producer.unread(), Unread { records: 0, bytes: 0 });
        assert!(producer.is_drained());
        // Padding is not a record.
        commit(&mut producer, &[0; 1000]).unwrap();
        assert_eq!(producer.unread().records, 1);
    }

    #[test]
    fn a_batch_is_bounded_by_bytes_and_takes_at_least_one_record() {
        let (mut producer, mut consumer) = heap();
        for _ in 0..3 {
            commit(&mut producer, &[0; 100]).unwrap();
        }
        let mut batch = Batch::new(10, 1);
        consumer.drain(&mut batch).unwrap();
        assert_eq!(batch.len(), 1);
        let mut batch = Batch::new(10, 101);
        consumer.drain(&mut batch).unwrap();
        assert_eq!(batch.len(), 2);
    }

    #[test]
    fn an_illegal_capacity_is_refused() {
        for capacity in [0, 1, 4095, 5000, CAPACITY_MIN / 2, usize::MAX, 512 << 20] {
            assert!(
                matches!(SharedMemory::create(capacity), Err(RingError::Capacity { .. })),
                "{capacity} was taken"
            );
        }
    }

    #[test]
    fn a_memory_that_could_shrink_is_refused() {
        let memfd = rustix::fs::memfd_create(c"liar", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&memfd, 8192).unwrap();
        assert!(matches!(SharedMemory::open(memfd.as_fd()), Err(RingError::Unsealed { .. })));
        let file = tempfile();
        assert!(matches!(SharedMemory::open(file.as_fd()), Err(RingError::Memory { .. })));
    }

    fn tempfile() -> std::fs::File {
        std::fs::File::open("/proc/self/exe").unwrap()
    }

    /// A ring whose header fields a liar has overwritten.
    fn forged(offset: u64, bytes: &[u8]) -> Result<Consumer<SharedMemory>, RingError> {
        let (_producer, memfd) = Producer::create(CAPACITY_MIN).unwrap();
        rustix::io::pwrite(&memfd, bytes, offset).unwrap();
        Consumer::open(memfd)
    }

    #[test]
    fn lies_in_the_header_are_named() {
        assert!(matches!(forged(0, b"X").unwrap_err(), RingError::Magic));
        assert!(matches!(forged(8, &2_u32.to_le_bytes()).unwrap_err(), RingError::Version { found: 2 }));
        assert!(matches!(forged(8, &[0; 4]).unwrap_err(), RingError::Version { found: 0 }));
        assert!(matches!(forged(12, &[0; 4]).unwrap_err(), RingError::Size { .. }));
        assert!(matches!(forged(16, &u64::MAX.to_le_bytes()).unwrap_err(), RingError::Size { .. }));
        for (tail, head) in [(8_u64, 16_u64), (4104, 0), (7, 0), (u64::MAX, 0), (!7, 8)] {
            let mut words = [0; 136];
            words[..8].copy_from_slice(&tail.to_le_bytes());
            words[128..].copy_from_slice(&head.to_le_bytes());
            assert!(
                matches!(forged(128, &words).unwrap_err(), RingError::Positions { .. }),
                "tail {tail}, head {head} were taken"
            );
        }
    }

    #[test]
    fn a_memory_of_another_size_than_its_header_says_is_refused() {
        for size in [0_u64, 100, 4096, 4096 + 5000, 4096 + 8192] {
            let memfd = rustix::fs::memfd_create(c"liar", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
            let (_producer, honest) = Producer::create(CAPACITY_MIN).unwrap();
            let mut header = [0; 512];
            rustix::io::pread(&honest, &mut header, 0).unwrap();
            rustix::io::pwrite(&memfd, &header, 0).unwrap();
            rustix::fs::ftruncate(&memfd, size).unwrap();
            let seals = rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW;
            rustix::fs::fcntl_add_seals(&memfd, seals).unwrap();
            assert!(
                matches!(
                    SharedMemory::open(memfd.as_fd()),
                    Err(RingError::Size { .. } | RingError::Capacity { .. })
                ),
                "{size} bytes were taken"
            );
        }
    }

    #[test]
    fn lies_in_a_frame_are_named_and_what_came_before_is_kept() {
        for (len, kind) in [(5000_u32, 1_u32), (u32::MAX, 1), (3, 0), (3, 9), (8, 2), (u32::MAX, 2)] {
            let (mut producer, memfd) = Producer::create(CAPACITY_MIN).unwrap();
            let mut consumer = Consumer::open(memfd.try_clone().unwrap()).unwrap();
            commit(&mut producer, b"sound").unwrap();
            commit(&mut producer, b"forged").unwrap();
            let mut frame = len.to_le_bytes().to_vec();
            frame.extend(kind.to_le_bytes());
            rustix::io::pwrite(&memfd, &frame, 4096 + 16).unwrap();
            let mut batch = Batch::new(10, 1000);
            assert!(
                matches!(consumer.drain(&mut batch), Err(RingError::Frame { position: 16, .. })),
                "length {len}, kind {kind} were taken"
            );
            assert_eq!(batch.records().collect::<Vec<_>>(), [b"sound"]);
        }
    }

    #[test]
    fn a_lying_head_stops_the_producer_and_nothing_is_overwritten() {
        let (mut producer, memfd) = Producer::create(CAPACITY_MIN).unwrap();
        while commit(&mut producer, &[1; 500]).is_ok() {}
        let unread = producer.unread();
        assert!(unread.records > 0);
        for head in [u64::MAX, 4104, 7] {
            rustix::io::pwrite(&memfd, &u64::to_le_bytes(head), 256).unwrap();
            assert!(!producer.is_drained());
            assert_eq!(producer.unread(), unread, "a lie gives nothing back");
            assert!(matches!(
                producer.reserve(500).unwrap_err(),
                ReserveError::Corrupt(RingError::Positions { .. })
            ));
        }
    }

    #[test]
    fn two_threads_pass_many_records() {
        const RECORDS: u32 = 200_000;
        let (mut producer, mut consumer) = shared();
        let (doorbell, bell) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for n in 0..RECORDS {
                    let record = vec![n as u8; n as usize % 300];
                    loop {
                        match commit(&mut producer, &record) {
                            Ok(true) => break doorbell.send(()).unwrap(),
                            Ok(false) => break,
                            Err(ReserveError::Full { .. }) => std::thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
            let mut seen = 0;
            while seen < RECORDS {
                let records = drain(&mut consumer);
                for record in &records {
                    assert_eq!(record, &vec![seen as u8; seen as usize % 300]);
                    seen += 1;
                }
                if records.is_empty() && consumer.announce_sleep().unwrap() {
                    bell.recv().unwrap();
                }
            }
        });
    }
}
