// Debezium's embedded engine with a consumer that counts: what the peer in Java reaches, on the same slot.
//
// usage: java -cp 'CLASSES:LIBS/*' Drain HOST PORT DATABASE USER SLOT PUBLICATION CHANGES
// Streams from where the slot stands, without a snapshot and without converting records, until so many changes of rows
// have come, and prints one line of JSON: seconds since the engine was started, and how many came. Its settings are the
// defaults. It keeps nothing: offsets are in memory.

import io.debezium.embedded.Connect;
import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import java.util.Properties;
import org.apache.kafka.connect.source.SourceRecord;

public final class Drain {
    private static long seen;

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.setProperty("name", "bench");
        settings.setProperty("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
        settings.setProperty("offset.storage", "org.apache.kafka.connect.storage.MemoryOffsetBackingStore");
        settings.setProperty("database.hostname", arguments[0]);
        settings.setProperty("database.port", arguments[1]);
        settings.setProperty("database.dbname", arguments[2]);
        settings.setProperty("database.user", arguments[3]);
        settings.setProperty("slot.name", arguments[4]);
        settings.setProperty("publication.name", arguments[5]);
        settings.setProperty("publication.autocreate.mode", "disabled");
        settings.setProperty("plugin.name", "pgoutput");
        settings.setProperty("topic.prefix", "bench");
        settings.setProperty("snapshot.mode", "no_data");
        settings.setProperty("tombstones.on.delete", "false");
        long wanted = Long.parseLong(arguments[6]);
        long started = System.nanoTime();
        DebeziumEngine<ChangeEvent<SourceRecord, SourceRecord>> engine = DebeziumEngine.create(Connect.class)
            .using(settings)
            .using((success, message, error) -> {
                System.err.println("the engine ended: " + message);
                if (error != null) {
                    error.printStackTrace();
                }
                System.exit(1);
            })
            .notifying((events, committer) -> {
                for (ChangeEvent<SourceRecord, SourceRecord> event : events) {
                    if (event.value().topic().startsWith("bench.public.")) {
                        seen++;
                    }
                    committer.markProcessed(event);
                }
                committer.markBatchFinished();
                if (seen >= wanted) {
                    double seconds = (System.nanoTime() - started) / 1e9;
                    System.out.println("{\"seconds\":" + seconds + ",\"changes\":" + seen + "}");
                    System.out.flush();
                    // In good order it waits for timers of its own, which are not measured.
                    Runtime.getRuntime().halt(0);
                }
            })
            .build();
        engine.run();
    }
}
