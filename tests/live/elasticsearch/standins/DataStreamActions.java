package standins;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.ResourceNotFoundException;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.action.datastreams.CreateDataStreamAction;
import org.elasticsearch.action.datastreams.DeleteDataStreamAction;
import org.elasticsearch.action.datastreams.GetDataStreamAction;
import org.elasticsearch.action.datastreams.GetDataStreamAction.Response.DataStreamInfo;
import org.elasticsearch.action.support.ActionFilters;
import org.elasticsearch.action.support.TransportAction;
import org.elasticsearch.action.support.master.AcknowledgedResponse;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.ClusterStateUpdateTask;
import org.elasticsearch.cluster.health.ClusterStateHealth;
import org.elasticsearch.cluster.metadata.DataStream;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.metadata.MetadataCreateDataStreamService;
import org.elasticsearch.cluster.metadata.MetadataDataStreamsService;
import org.elasticsearch.cluster.metadata.MetadataIndexTemplateService;
import org.elasticsearch.cluster.metadata.ProjectMetadata;
import org.elasticsearch.cluster.project.ProjectResolver;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.util.concurrent.EsExecutors;
import org.elasticsearch.injection.guice.Inject;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.transport.TransportService;

/** The server's create, get and delete data stream actions; they act on the node they reach, which must be the master. */
public class DataStreamActions {
    public static class Create extends TransportAction<CreateDataStreamAction.Request, AcknowledgedResponse> {
        private final MetadataCreateDataStreamService service;
        private final ProjectResolver projects;

        @Inject
        public Create(TransportService t, ActionFilters f, MetadataCreateDataStreamService service, ProjectResolver projects) {
            super(CreateDataStreamAction.NAME, f, t.getTaskManager(), EsExecutors.DIRECT_EXECUTOR_SERVICE);
            this.service = service;
            this.projects = projects;
        }

        protected void doExecute(Task task, CreateDataStreamAction.Request r, ActionListener<AcknowledgedResponse> l) {
            service.createDataStream(
                new MetadataCreateDataStreamService.CreateDataStreamClusterStateUpdateRequest(
                    projects.getProjectId(), r.getName(), r.getStartTime(), null, r.masterNodeTimeout(), r.ackTimeout()
                ),
                l
            );
        }
    }

    private static List<String> resolve(IndexNameExpressionResolver resolver, ProjectMetadata project, org.elasticsearch.action.IndicesRequest r) {
        return resolver.dataStreamNames(project, r.indicesOptions(), r.indices());
    }

    public static class Get extends TransportAction<GetDataStreamAction.Request, GetDataStreamAction.Response> {
        private final ClusterService cluster;
        private final IndexNameExpressionResolver resolver;
        private final ProjectResolver projects;

        @Inject
        public Get(TransportService t, ActionFilters f, ClusterService cluster, IndexNameExpressionResolver resolver, ProjectResolver projects) {
            super(GetDataStreamAction.NAME, f, t.getTaskManager(), EsExecutors.DIRECT_EXECUTOR_SERVICE);
            this.cluster = cluster;
            this.resolver = resolver;
            this.projects = projects;
        }

        protected void doExecute(Task task, GetDataStreamAction.Request r, ActionListener<GetDataStreamAction.Response> l) {
            ActionListener.completeWith(l, () -> {
                ClusterState state = cluster.state();
                ProjectMetadata project = projects.getProjectMetadata(state);
                List<DataStreamInfo> infos = new ArrayList<>();
                for (String name : resolve(resolver, project, r)) {
                    DataStream ds = project.dataStreams().get(name);
                    String template = MetadataIndexTemplateService.findV2Template(project, name, false);
                    Settings s = template == null ? Settings.EMPTY : MetadataIndexTemplateService.resolveSettings(project, template);
                    var health = new ClusterStateHealth(
                        state, ds.getIndices().stream().map(i -> i.getName()).toArray(String[]::new), project.id()
                    ).getStatus();
                    infos.add(new DataStreamInfo(
                        ds, false, health, template, s.get("index.lifecycle.name"), null, Map.of(), false, null, s.get("index.mode")
                    ));
                }
                return new GetDataStreamAction.Response(infos);
            });
        }
    }

    public static class Delete extends TransportAction<DeleteDataStreamAction.Request, AcknowledgedResponse> {
        private final ClusterService cluster;
        private final IndexNameExpressionResolver resolver;
        private final ProjectResolver projects;

        @Inject
        public Delete(TransportService t, ActionFilters f, ClusterService cluster, IndexNameExpressionResolver resolver, ProjectResolver projects) {
            super(DeleteDataStreamAction.NAME, f, t.getTaskManager(), EsExecutors.DIRECT_EXECUTOR_SERVICE);
            this.cluster = cluster;
            this.resolver = resolver;
            this.projects = projects;
        }

        protected void doExecute(Task task, DeleteDataStreamAction.Request r, ActionListener<AcknowledgedResponse> l) {
            List<String> names = resolve(resolver, projects.getProjectMetadata(cluster.state()), r);
            if (names.isEmpty()) {
                l.onResponse(AcknowledgedResponse.TRUE);
                return;
            }
            var projectId = projects.getProjectId();
            cluster.submitUnbatchedStateUpdateTask("delete-data-stream", new ClusterStateUpdateTask(r.masterNodeTimeout()) {
                public ClusterState execute(ClusterState state) {
                    var project = state.projectState(projectId);
                    Set<DataStream> gone = new HashSet<>();
                    names.forEach(n -> gone.add(project.metadata().dataStreams().get(n)));
                    return MetadataDataStreamsService.deleteDataStreams(project, gone, Settings.EMPTY);
                }

                public void onFailure(Exception e) {
                    l.onFailure(e);
                }

                public void clusterStateProcessed(ClusterState before, ClusterState after) {
                    l.onResponse(AcknowledgedResponse.TRUE);
                }
            });
        }
    }
}
