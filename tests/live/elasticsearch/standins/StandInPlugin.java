package standins;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.Tokenizer;
import org.apache.lucene.analysis.email.UAX29URLEmailTokenizer;
import org.apache.lucene.analysis.miscellaneous.RemoveDuplicatesTokenFilter;
import org.apache.lucene.analysis.pattern.PatternCaptureGroupTokenFilter;
import org.elasticsearch.Build;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.action.datastreams.CreateDataStreamAction;
import org.elasticsearch.action.datastreams.DeleteDataStreamAction;
import org.elasticsearch.action.datastreams.GetDataStreamAction;
import org.elasticsearch.common.Strings;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.index.IndexVersion;
import org.elasticsearch.index.analysis.AbstractTokenFilterFactory;
import org.elasticsearch.index.analysis.AbstractTokenizerFactory;
import org.elasticsearch.index.analysis.TokenFilterFactory;
import org.elasticsearch.index.analysis.TokenizerFactory;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.AnalysisPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.rest.RestUtils;
import org.elasticsearch.rest.action.RestToXContentListener;
import org.elasticsearch.xcontent.XContentBuilder;

/**
 * Stands in for the parts of Elasticsearch that are not published as jars: GET / (rest-root), the data stream calls
 * (data-streams), and what the security index asks of analysis-common. The work behind them is the server's own.
 */
public class StandInPlugin extends Plugin implements ActionPlugin, AnalysisPlugin {
    private ClusterService clusterService;

    @Override
    public Collection<?> createComponents(PluginServices services) {
        clusterService = services.clusterService();
        return List.of();
    }

    @Override
    public Collection<ActionHandler> getActions() {
        return List.of(
            new ActionHandler(CreateDataStreamAction.INSTANCE, DataStreamActions.Create.class),
            new ActionHandler(GetDataStreamAction.INSTANCE, DataStreamActions.Get.class),
            new ActionHandler(DeleteDataStreamAction.INSTANCE, DataStreamActions.Delete.class)
        );
    }

    @Override
    public Collection<RestHandler> getRestHandlers(RestHandlersServices s, Supplier<DiscoveryNodes> nodes, Predicate<NodeFeature> f) {
        return List.of(new Root(), new DataStreams());
    }

    private class Root extends BaseRestHandler {
        public String getName() {
            return "root";
        }

        public List<Route> routes() {
            return List.of(new Route(RestRequest.Method.GET, "/"), new Route(RestRequest.Method.HEAD, "/"));
        }

        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
            return channel -> {
                ClusterState state = clusterService.state();
                Build build = Build.current();
                XContentBuilder b = channel.newBuilder().prettyPrint().startObject();
                b.field("name", clusterService.getNodeName());
                b.field("cluster_name", state.getClusterName().value());
                b.field("cluster_uuid", state.metadata().clusterUUID());
                b.startObject("version");
                b.field("number", build.qualifiedVersion());
                b.field("build_flavor", build.flavor());
                b.field("build_type", build.type().displayName());
                b.field("build_hash", build.hash());
                b.field("build_date", build.date());
                b.field("build_snapshot", build.isSnapshot());
                b.field("lucene_version", IndexVersion.current().luceneVersion().toString());
                b.field("minimum_wire_compatibility_version", build.minWireCompatVersion());
                b.field("minimum_index_compatibility_version", build.minIndexCompatVersion());
                b.endObject().field("tagline", "You Know, for Search").endObject();
                channel.sendResponse(new RestResponse(RestStatus.OK, b));
            };
        }
    }

    private static class DataStreams extends BaseRestHandler {
        public String getName() {
            return "data_streams";
        }

        public List<Route> routes() {
            return List.of(
                new Route(RestRequest.Method.PUT, "/_data_stream/{name}"),
                new Route(RestRequest.Method.DELETE, "/_data_stream/{name}"),
                new Route(RestRequest.Method.GET, "/_data_stream/{name}"),
                new Route(RestRequest.Method.GET, "/_data_stream")
            );
        }

        protected RestChannelConsumer prepareRequest(RestRequest r, NodeClient client) throws IOException {
            var wait = RestUtils.getMasterNodeTimeout(r);
            String name = r.param("name", "*");
            String[] names = Strings.splitStringByCommaToArray(name);
            r.param("expand_wildcards"); // accepted, not used
            switch (r.method()) {
                case PUT:
                    var create = new CreateDataStreamAction.Request(wait, RestUtils.getAckTimeout(r), name);
                    return c -> client.execute(CreateDataStreamAction.INSTANCE, create, new RestToXContentListener<>(c));
                case DELETE:
                    var delete = new DeleteDataStreamAction.Request(wait, names);
                    return c -> client.execute(DeleteDataStreamAction.INSTANCE, delete, new RestToXContentListener<>(c));
                default:
                    var get = new GetDataStreamAction.Request(wait, names);
                    return c -> client.execute(GetDataStreamAction.INSTANCE, get, new RestToXContentListener<>(c));
            }
        }
    }

    @Override
    public Map<String, AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
        return Map.of("pattern_capture", AnalysisPlugin.requiresAnalysisSettings((index, env, name, settings) -> {
            List<Pattern> patterns = new ArrayList<>();
            settings.getAsList("patterns").forEach(p -> patterns.add(Pattern.compile(p)));
            boolean keep = settings.getAsBoolean("preserve_original", true);
            return new AbstractTokenFilterFactory(name) {
                public TokenStream create(TokenStream in) {
                    return new PatternCaptureGroupTokenFilter(in, keep, patterns.toArray(new Pattern[0]));
                }
            };
        }), "unique", (index, env, name, settings) -> new AbstractTokenFilterFactory(name) {
            public TokenStream create(TokenStream in) {
                return new RemoveDuplicatesTokenFilter(in);
            }
        });
    }

    @Override
    public Map<String, AnalysisProvider<TokenizerFactory>> getTokenizers() {
        return Map.of("uax_url_email", (index, env, name, settings) -> new AbstractTokenizerFactory(name) {
            public Tokenizer create() {
                return new UAX29URLEmailTokenizer();
            }
        });
    }
}
